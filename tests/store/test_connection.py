from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from pymongo.uri_parser import parse_uri

from nearedge.errors import SettingsError
from nearedge.settings import load_settings
from nearedge.store.connection import mongo_uri, redacted


@pytest.mark.parametrize("password", ["qx/zy", "qx@zy", "qx?zy", "12/34", "qx/z@zy", "qx#zy"])
def test_a_password_that_is_not_escaped_is_refused_and_never_repeated(password: str) -> None:
    uri = f"mongodb://user:{password}@host:27017/?tls=true"
    assert redacted(uri) == "(not a MongoDB URI)"
    with pytest.raises(SettingsError, match="%40") as caught:
        mongo_uri(load_settings(mongo_uri=uri))
    assert not any(part in str(caught.value) for part in ("qx", "zy", "12", "34"))


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://user:p%40%2F%3Fss@one:27017,two:27018/?replicaSet=x",
        "mongodb://user@one/",
        "mongodb+srv://user:word@cluster.example.org/?w=majority",
        "mongodb://[::1]:27017",
    ],
)
def test_a_proper_uri_is_used_as_it_is_and_shown_without_its_user(uri: str) -> None:
    assert mongo_uri(load_settings(mongo_uri=uri)) == uri
    assert "word" not in redacted(uri)
    assert "user" not in redacted(uri)


def test_another_database_keeps_where_the_user_is_and_every_option() -> None:
    given = "mongodb://u:p@h/?authsource=people&readPreferenceTags=a:b&readPreferenceTags=c:d"
    found = mongo_uri(load_settings(mongo_uri=given), database="launchpad")
    names = [name for name, _ in parse_qsl(urlsplit(found).query)]
    assert names == ["authsource", "readPreferenceTags", "readPreferenceTags"]
    assert parse_uri(found)["database"] == "launchpad"
    assert parse_uri(found)["options"]["readPreferenceTags"] == [{"a": "b"}, {"c": "d"}]


def test_a_user_of_the_database_in_the_path_is_still_looked_up_there() -> None:
    found = mongo_uri(load_settings(mongo_uri="mongodb://u:p@h/people"), database="launchpad")
    assert parse_uri(found)["options"]["authSource"] == "people"
