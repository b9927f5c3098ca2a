from __future__ import annotations

import os
from pathlib import Path

import pytest

from nearedge.errors import SettingsError
from nearedge.settings import load_settings


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "nearedge.yaml"
    monkeypatch.setenv("NEAREDGE_CONFIG_FILE", str(path))
    return path


@pytest.mark.parametrize(
    "content", [b"- a\n- b\n", b"text\n", b"42: x\n", b"5\n", b"home: \xff\xfe\n", b"home: [1\n"]
)
def test_a_file_that_holds_no_settings_is_named_in_the_error(config: Path, content: bytes) -> None:
    config.write_bytes(content)
    with pytest.raises(SettingsError, match=str(config)):
        load_settings()


@pytest.mark.parametrize("content", ["", "# nothing yet\n"])
def test_an_empty_file_changes_nothing(config: Path, content: str) -> None:
    config.write_text(content)
    assert load_settings().database == "nearedge"


@pytest.mark.parametrize("name", ["home", "run_dir"])
def test_a_folder_behind_a_link_has_the_name_that_a_process_in_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "lustre").mkdir()
    (tmp_path / "scratch").symlink_to(tmp_path / "lustre")
    runs = load_settings(**{name: tmp_path / "scratch" / "me"}).runs
    runs.mkdir(parents=True)
    monkeypatch.chdir(runs)
    assert str(runs) == os.getcwd()


def test_an_unknown_key_in_the_file_is_refused_by_name(config: Path) -> None:
    config.write_text("mongo_url: mongodb://localhost/\n")
    with pytest.raises(SettingsError, match="mongo_url"):
        load_settings()


def test_the_password_is_in_no_printed_form(config: Path) -> None:
    config.write_text("mongo_uri: mongodb://user:geheim@localhost/\n")
    settings = load_settings()
    assert "geheim" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_variable_that_is_set_to_nothing_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEAREDGE_CONFIG_FILE", "")
    monkeypatch.delenv("NEAREDGE_HOME", raising=False)
    usual = load_settings().home
    monkeypatch.setenv("NEAREDGE_HOME", "")
    assert load_settings().home == usual
