"""The embedded database server: up, down, status.

It listens on loopback only and asks for a password that only this user can read: on a shared login
node every user reaches loopback, and whoever can write FireWorks' collections runs code as you.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from nearedge.errors import DatabaseError, DatabaseUnavailable, ForeignDatabase
from nearedge.settings import Settings
from nearedge.store.identity import read_identity
from nearedge.store.operations import Document, database_errors
from nearedge.store.server_process import (
    LOOPBACK,
    ServerRecord,
    end_process,
    servers_on,
    start_server,
    write_private,
)

USER = "nearedge"
_ANSWER_DEADLINE = 30.0
_PROBE_SECONDS = 3.0
_SYSTEM_DATABASES = frozenset({"admin", "config", "local"})


@dataclass(frozen=True)
class ServerState:
    """What `EmbeddedServer` found or did.

    Parameters
    ----------
    status
        ``running``; ``stopped``; ``dead`` (it ended without `down`); ``starting``; ``silent`` (the
        process is there and does not answer); ``foreign`` (another database answers in its place);
        ``elsewhere`` (it was started on another machine that shares the folder).
    detail
        One sentence for people.
    started
        Whether this call started it.
    """

    status: Literal["running", "stopped", "dead", "starting", "silent", "foreign", "elsewhere"]
    detail: str
    pid: int | None = None
    port: int | None = None
    instance: str | None = None
    since: datetime | None = None
    started: bool = False


@dataclass(frozen=True)
class Instance:
    """What makes a data folder this installation's: its instance, its password, its last port.

    The port is kept so that a server that comes up again is found at the same place by workers
    that have been computing all the while.
    """

    instance: str
    password: str
    port: int = 0


class EmbeddedServer:
    """The embedded server under ``<home>/database``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.home / "database"
        self._record_path = self.folder / "server.json"
        self._instance_path = self.folder / "instance"

    def up(self) -> ServerState:
        """Start the server unless it runs already, and wait until it answers as ours.

        Raises
        ------
        DatabaseError
            If it is not installed, cannot start, or runs on another machine.
        ForeignDatabase
            If what answers is not this installation's.
        """
        self._make_folder()
        with self._locked():
            state = self.status()
            if state.status == "running":
                return state
            if state.status == "silent":
                return self._answering(started=False)
            if state.status == "elsewhere":
                raise DatabaseError(state.detail)
            if state.status == "foreign":
                raise ForeignDatabase(state.detail)
            # Still starting, and we hold the lock: whoever started it was killed. Begin again.
            self._end_strays()
            fresh = self._instance() is None
            empty = not any((self.folder / "data").iterdir())
            if fresh:
                self._create_instance()
            self._start(auth=True)
            state = self._answering(started=True)
            if fresh:
                self._drop_what_others_left(state, everything=empty)
            return state

    def down(self) -> ServerState:
        """End the server if it runs; only ever a process that is proved to be ours.

        Raises
        ------
        DatabaseError
            If it runs on another machine that shares the folder.
        """
        if not self.folder.is_dir():
            return ServerState("stopped", "The embedded database is not running.")
        with self._locked():
            record = ServerRecord.load(self._record_path)
            if record is not None and record.host != socket.gethostname():
                raise DatabaseError(self._elsewhere(record).detail)
            process = None if record is None else record.process()
            if process is not None:
                end_process(process)
            self._end_strays()
            self._record_path.unlink(missing_ok=True)
        if process is None:
            return ServerState("stopped", "The embedded database was not running.")
        return ServerState("stopped", f"Ended the embedded database (process {process.pid}).")

    def status(self) -> ServerState:
        """Say what is true now; changes nothing."""
        record = ServerRecord.load(self._record_path)
        if record is None:
            return ServerState(
                "stopped", "The embedded database is not running: `nearedge up` starts it."
            )
        if record.host != socket.gethostname():
            return self._elsewhere(record)
        since = datetime.fromtimestamp(record.started_at, UTC)
        if record.process() is None:
            return ServerState(
                "dead",
                f"The embedded database (process {record.pid}) is gone without `nearedge down`: it "
                "was killed or the machine restarted; `nearedge up` starts it again.",
                since=since,
            )
        found = ServerState(
            "starting", "The embedded database is starting.", record.pid, record.port, since=since
        )
        if record.port is None:
            return found
        return self._probed(found)

    def uri(self, database: str | None = None) -> str:
        """Return the URI of the running server, with its password.

        Raises
        ------
        DatabaseUnavailable
            If it does not run, saying what to do.
        """
        record = ServerRecord.load(self._record_path)
        instance = self._instance()
        if (
            record is None
            or instance is None
            or record.port is None
            or record.host != socket.gethostname()
            or record.process() is None
        ):
            raise DatabaseUnavailable(self.status().detail)
        return _uri(record.port, instance.password, database)

    @property
    def instance(self) -> str | None:
        """The instance that its databases must carry; None before the first `up`."""
        found = self._instance()
        return None if found is None else found.instance

    def _probed(self, found: ServerState) -> ServerState:
        """Ask the server who it is."""
        instance = self._instance()
        if instance is None or found.port is None:
            return found
        where = f"The embedded database (process {found.pid}, port {found.port})"
        try:
            with _client(_uri(found.port, instance.password), _PROBE_SECONDS) as client:
                client.admin.command("connectionStatus")
                identity = read_identity(client[self._settings.database])
        except OperationFailure as error:
            return replace(
                found, status="foreign", detail=f"{where} refuses our password ({error.code})."
            )
        except PyMongoError:
            return replace(found, status="silent", detail=f"{where} does not answer.")
        if identity is not None and identity.instance != instance.instance:
            return replace(
                found,
                status="foreign",
                detail=f"{where} serves the data of another instance, {identity.instance} and not "
                f"{instance.instance}: put back {self.folder / 'data'} or {self._instance_path}.",
            )
        return replace(
            found, status="running", detail=f"{where} is running.", instance=instance.instance
        )

    def _answering(self, *, started: bool) -> ServerState:
        deadline = time.monotonic() + _ANSWER_DEADLINE
        while True:
            state = self.status()
            if state.status == "running":
                return replace(state, started=started)
            if state.status == "foreign":
                raise ForeignDatabase(state.detail)
            if state.status in ("dead", "stopped") or time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"{state.detail} See {self.folder / 'server.log'}; `nearedge down` ends it."
                )
            time.sleep(0.1)

    def _start(self, *, auth: bool) -> ServerRecord:
        instance = self._instance()
        record = start_server(
            self.folder,
            self._record_path,
            cache=self._settings.embedded_cache,
            port=0 if instance is None else instance.port,
            auth=auth,
        )
        if instance is not None and record.port != instance.port:
            self._save_instance(replace(instance, port=record.port or 0))
        return record

    def _create_instance(self) -> None:
        """Give a fresh data folder (or one that lost its instance file) a user of its own.

        The server makes no exception for the first user, so it is started once without
        authentication; what others wrote meanwhile is lost again in `_drop_what_others_left`.
        """
        password = secrets.token_urlsafe(24)
        record = self._start(auth=False)
        process = record.process()
        if process is None or record.port is None:
            raise DatabaseError(f"The embedded server ended at once: see {self.folder}/server.log.")
        try:
            with database_errors(), _client(_uri(record.port), _ANSWER_DEADLINE) as client:
                for user in client.admin.command("usersInfo", 1)["users"]:
                    if user["user"] == USER:  # left by an instance file that was lost
                        client.admin.command("dropUser", USER)
                client.admin.command(
                    "createUser", USER, pwd=password, roles=[{"role": "root", "db": "admin"}]
                )
                identity = read_identity(client[self._settings.database])
        finally:
            end_process(process)
            self._record_path.unlink(missing_ok=True)
        name = str(uuid.uuid4()) if identity is None else identity.instance
        self._save_instance(Instance(name, password, record.port))

    def _drop_what_others_left(self, state: ServerState, *, everything: bool) -> None:
        """Drop other users, and all data of a server that was empty before it was started.

        A workflow that somebody put into the queue while no password was asked for would run as us.
        """
        instance = self._instance()
        if instance is None or state.port is None:
            return
        uri = _uri(state.port, instance.password)
        with database_errors(), _client(uri, _ANSWER_DEADLINE) as client:
            names = {"admin", *client.list_database_names()}
            for name in sorted(names - _SYSTEM_DATABASES) if everything else ():
                client.drop_database(name)
            for name in names:
                for user in client[name].command("usersInfo", 1)["users"]:
                    if (name, user["user"]) != ("admin", USER):
                        client[name].command("dropUser", user["user"])

    def _instance(self) -> Instance | None:
        try:
            return Instance(**json.loads(self._instance_path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise DatabaseError(
                f"{self._instance_path} cannot be read ({error}): remove it, and `nearedge up` "
                "makes another."
            ) from None

    def _save_instance(self, instance: Instance) -> None:
        write_private(self._instance_path, json.dumps(asdict(instance)))

    def _end_strays(self) -> None:
        for process in servers_on(self.folder / "data"):
            end_process(process)

    def _elsewhere(self, record: ServerRecord) -> ServerState:
        return ServerState(
            "elsewhere",
            f"The embedded database was started on {record.host} and works there only: run "
            "NearEdge there, name a MongoDB in NEAREDGE_MONGO_URI, or, if that machine is gone, "
            f"remove {self._record_path}.",
        )

    def _make_folder(self) -> None:
        for folder in (self.folder, self.folder / "data"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one `up` or `down` at a time work on the folder; the kernel frees a dead owner's."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _uri(port: int, password: str | None = None, database: str | None = None) -> str:
    user = "" if password is None else f"{USER}:{quote(password, safe='')}@"
    options = "directConnection=true&journal=true" + ("&authSource=admin" if user else "")
    return f"mongodb://{user}{LOOPBACK}:{port}/{database or ''}?{options}"


def _client(uri: str, seconds: float) -> MongoClient[Document]:
    milliseconds = int(seconds * 1000)
    return MongoClient(
        uri,
        serverSelectionTimeoutMS=milliseconds,
        connectTimeoutMS=milliseconds,
        socketTimeoutMS=milliseconds,
    )
