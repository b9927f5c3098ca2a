"""The embedded server: started once, proved to be ours, and only ever ours is ended."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from nearedge.errors import DatabaseError, DatabaseUnavailable, ForeignDatabase
from nearedge.settings import Settings
from nearedge.store import lifecycle
from nearedge.store.connection import client, connect, initialize, mongo_uri, redacted
from nearedge.store.server_process import ServerRecord, servers_on
from nearedge.store.service import EmbeddedServer

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home of a user", mongo_uri=None, embedded_cache="64M", database_timeout=5
    )


@pytest.fixture
def server(settings: Settings) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(settings)
    yield server
    server.down()
    assert servers_on(server.folder / "data") == []


def remember(server: EmbeddedServer, record: ServerRecord) -> None:
    server.folder.mkdir(parents=True, exist_ok=True)
    record.save(server.folder / "server.json")


def remembered(server: EmbeddedServer) -> ServerRecord:
    record = ServerRecord.load(server.folder / "server.json")
    assert record is not None
    return record


@pytest.mark.integration
def test_up_up_kill_up_down(server: EmbeddedServer, settings: Settings) -> None:
    assert server.status().status == "stopped"
    with pytest.raises(DatabaseUnavailable, match="nearedge up"):
        connect(settings)

    first = server.up()
    assert (first.status, first.started) == ("running", True)
    initialize(settings)
    connect(settings)["notes"].insert_one({"_id": 1})

    second = server.up()
    assert (second.pid, second.started) == (first.pid, False)

    assert first.pid is not None
    os.kill(first.pid, 9)
    psutil.wait_procs([psutil.Process(first.pid)], timeout=5)
    dead = server.status()
    assert dead.status == "dead"
    assert "killed" in dead.detail
    assert not lifecycle.status(settings).usable

    # Up again at the same address: a worker that has been computing finds it there.
    third = server.up()
    assert (third.started, third.port, third.instance) == (True, first.port, first.instance)
    assert third.pid != first.pid
    assert connect(settings)["notes"].count_documents({"_id": 1}) == 1
    assert lifecycle.status(settings).usable

    assert server.down().status == "stopped"
    assert not psutil.pid_exists(third.pid or 0)
    assert server.status().status == "stopped"
    assert server.down().status == "stopped"


@pytest.mark.integration
def test_two_at_once_start_one_server(settings: Settings, server: EmbeddedServer) -> None:
    with ThreadPoolExecutor(3) as pool:
        states = list(pool.map(lambda _: EmbeddedServer(settings).up(), range(3)))
    assert len({state.pid for state in states}) == 1
    assert sorted(state.started for state in states) == [False, False, True]
    assert len(servers_on(server.folder / "data")) == 1


@pytest.mark.integration
def test_only_this_user_can_read_the_files_and_talk_to_the_server(
    embedded_settings: Settings,
) -> None:
    server = EmbeddedServer(embedded_settings)
    for path in (server.folder, *server.folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    state = server.status()
    process = psutil.Process(state.pid)
    listening = [c.laddr.ip for c in process.net_connections("inet") if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]
    with (
        MongoClient("127.0.0.1", state.port, directConnection=True) as stranger,
        pytest.raises(OperationFailure, match="requires authentication"),
    ):
        stranger[embedded_settings.database]["spectra"].find_one()
    # Its parent's environment, which may hold keys, is not the server's.
    assert not [name for name in process.environ() if name.startswith("NEAREDGE_")]


@pytest.mark.integration
def test_another_server_on_the_port_of_a_dead_one_is_not_taken_for_it(
    embedded_settings: Settings, server: EmbeddedServer, settings: Settings
) -> None:
    """After a crash another server answers at the old port: no ping, no password goes to it."""
    theirs = EmbeddedServer(embedded_settings)
    server.up()
    initialize(settings)
    server.down()
    record = remembered(theirs)
    remember(server, replace(record, pid=2**22 + 1, token="0" * 32))
    assert server.status().status == "dead"
    # and even if the record led to the stranger's own process:
    remember(server, record)
    assert server.status().status == "foreign"
    with pytest.raises(ForeignDatabase):
        server.up()
    with pytest.raises(DatabaseError):
        connect(settings)
    remember(server, replace(record, token="0" * 32))
    assert theirs.status().status == "running"


@pytest.mark.integration
def test_a_start_that_nobody_recorded_is_ended_before_the_next(
    server: EmbeddedServer, settings: Settings
) -> None:
    first = server.up()
    (server.folder / "server.json").unlink()
    assert server.status().status == "stopped"
    second = server.up()
    assert second.started
    assert second.pid != first.pid
    assert [process.pid for process in servers_on(server.folder / "data")] == [second.pid]
    # A lost instance file, also that of an `up` killed on the way, means another password and the
    # same database.
    initialize(settings)
    (server.folder / "instance").unlink()
    assert server.status().status == "starting"
    third = server.up()
    assert third.started
    assert third.instance == second.instance
    assert connect(settings).name == settings.database


@pytest.mark.integration
def test_a_start_that_was_killed_on_the_way_is_begun_again(server: EmbeddedServer) -> None:
    first = server.up()
    remember(server, replace(remembered(server), port=None))
    assert server.status().status == "starting"
    second = server.up()
    assert (second.status, second.started) == ("running", True)
    assert second.pid != first.pid
    assert [process.pid for process in servers_on(server.folder / "data")] == [second.pid]


def test_a_process_that_has_the_pid_of_a_dead_server_is_left_alone(
    server: EmbeddedServer,
) -> None:
    stranger = subprocess.Popen(SLEEPER)
    try:
        host = os.uname().nodename
        remember(server, ServerRecord(stranger.pid, host, "f" * 32, 1.0, 27017))
        assert server.status().status == "dead"
        assert server.down().status == "stopped"
        assert stranger.poll() is None
        assert not (server.folder / "server.json").exists()
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_on_another_machine_is_neither_ended_nor_doubled(server: EmbeddedServer) -> None:
    remember(server, ServerRecord(1, "login-7.cluster", "f" * 32, 1.0, 27017))
    assert server.status().status == "elsewhere"
    for call in (server.up, server.down):
        with pytest.raises(DatabaseError, match=r"login-7\.cluster"):
            call()
    (server.folder / "server.json").unlink()


def test_without_the_extra_the_message_names_it(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DatabaseError, match=r"nearedge\[embedded\].*NEAREDGE_MONGO_URI"):
        server.up()


@pytest.mark.integration
def test_a_server_that_cannot_start_says_why_and_leaves_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    broken = EmbeddedServer(settings.model_copy(update={"embedded_cache": "nonsense"}))
    with pytest.raises(DatabaseError, match=r"server\.log"):
        broken.up()
    assert broken.status().status == "stopped"
    assert servers_on(broken.folder / "data") == []


@pytest.mark.integration
def test_a_configured_mongodb_is_used_and_left_running(embedded_settings: Settings) -> None:
    uri = mongo_uri(embedded_settings)
    secret = uri.split("//")[1].split("@")[0]
    configured = Settings(home=embedded_settings.home, mongo_uri=uri, database="test_configured")
    assert not lifecycle.status(configured).usable
    ready = lifecycle.up(configured)
    assert ready.usable
    assert connect(configured).name == "test_configured"
    assert lifecycle.down(configured).usable
    assert lifecycle.status(configured).usable
    for state in (ready, lifecycle.down(configured), lifecycle.status(configured)):
        assert secret not in state.where + state.detail
    client(configured).drop_database("test_configured")

    client(configured)["test_orders"]["orders"].insert_one({"total": 12})
    foreign = configured.model_copy(update={"database": "test_orders"})
    with pytest.raises(ForeignDatabase):
        lifecycle.up(foreign)
    assert "another application" in lifecycle.status(foreign).detail
    client(configured).drop_database("test_orders")


@pytest.mark.parametrize(
    ("configured", "with_name"),
    [
        ("mongodb://host", "mongodb://host/pad"),
        ("mongodb://host:1,other:2/?replicaSet=r", "mongodb://host:1,other:2/pad?replicaSet=r"),
        ("mongodb://u:p%40@host/", "mongodb://u:p%40@host/pad?authSource=admin"),
        ("mongodb://u:p@host/users?w=2", "mongodb://u:p@host/pad?w=2&authSource=users"),
        ("mongodb+srv://u:p@c.net/?authSource=a", "mongodb+srv://u:p@c.net/pad?authSource=a"),
    ],
)
def test_a_database_in_the_uri_does_not_move_the_user(
    configured: str, with_name: str, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, mongo_uri=configured)
    assert mongo_uri(settings) == configured
    assert mongo_uri(settings, database="pad") == with_name
    assert "p%40" not in redacted(configured)
    assert "u:p" not in redacted(configured)


def test_nobody_at_the_configured_address_is_one_sentence(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, mongo_uri="mongodb://user:secret@127.0.0.1:9/", database_timeout=0.2
    )
    with pytest.raises(DatabaseUnavailable, match="NEAREDGE_MONGO_URI") as error:
        connect(settings)
    assert "secret" not in str(error.value)
    assert not lifecycle.status(settings).usable


@pytest.mark.integration
def test_what_others_write_before_there_is_a_password_is_dropped(
    server: EmbeddedServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = EmbeddedServer._start

    def watched(self: EmbeddedServer, *, auth: bool) -> ServerRecord:
        record = start(self, auth=auth)
        if not auth:
            with MongoClient[dict[str, object]](f"mongodb://127.0.0.1:{record.port}/") as other:
                other[settings.launchpad_database]["fireworks"].insert_one({"state": "READY"})
        return record

    monkeypatch.setattr(EmbeddedServer, "_start", watched)
    server.up()
    initialize(settings)
    assert client(settings)[settings.launchpad_database].list_collection_names() == []
    connect(settings)["notes"].insert_one({"_id": 1})

    # A folder that lost its instance file keeps its data.
    server.down()
    (server.folder / "instance").unlink()
    server.up()
    assert connect(settings)["notes"].find_one() == {"_id": 1}
