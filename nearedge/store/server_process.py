"""The embedded server as an operating-system process: start it, prove that it is ours, end it."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from nearedge.errors import DatabaseError

LOOPBACK = "127.0.0.1"
_START_DEADLINE = 90.0
"""Seconds a start may take; replaying the journal of a killed server takes some of them."""
_STOP_DEADLINE = 20.0
_LOG_LIMIT = 5_000_000
_NOT_INSTALLED = (
    "The embedded server is not installed: `pip install 'nearedge[embedded]'`, or name a MongoDB "
    "of yours in NEAREDGE_MONGO_URI."
)


@dataclass(frozen=True)
class ServerRecord:
    """What is remembered of a started server.

    The token stands in the server's own command line (in the name of its configuration file), so
    a process of this pid is the one that was started if and only if its command line has it. Start
    times would say the same until somebody sets the clock.
    """

    pid: int
    host: str
    token: str
    started_at: float
    port: int | None = None

    def save(self, path: Path) -> None:
        """Write it readable by its owner alone, in one step."""
        write_private(path, json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> ServerRecord | None:
        """Read it; None if there is none, or what is there is no record."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def process(self) -> psutil.Process | None:
        """Return the running process that this record is of, or None if it is gone."""
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            ours = any(self.token in argument for argument in process.cmdline())
        except psutil.Error:
            return None
        return process if ours else None


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` with mode 0600, atomically and durably."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def start_server(
    folder: Path, record_path: Path, *, cache: str, port: int, auth: bool
) -> ServerRecord:
    """Start a server on `folder`, record it, and wait until it listens.

    Parameters
    ----------
    folder
        Holds ``data/`` and ``server.log``.
    record_path
        Where the record is written, before the server is waited for: whoever comes after a kill
        finds the process.
    cache
        Cache size such as ``256M``.
    port
        The port to try first; 0, or one that is taken, leaves the choice to the kernel.
    auth
        Whether clients must authenticate.

    Raises
    ------
    DatabaseError
        If the server is not installed or ends before it listens; with the end of its log.
    """
    if importlib.util.find_spec("secantus") is None:
        raise DatabaseError(_NOT_INSTALLED)
    if port and not _is_free(port):
        port = 0
    token = secrets.token_hex(16)
    # An own configuration file keeps the server from reading ./secantusd.toml or one in the home.
    config = folder / f"server-{token}.toml"
    config.touch(mode=0o600)
    log = folder / "server.log"
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(folder / "server.log.1")
    command = [
        *(sys.executable, "-P", "-m", "secantus"),
        *("--config", str(config), "--host", LOOPBACK, "--port", str(port)),
        *("--storage-path", str(folder / "data"), "--cache-size", cache, "--standalone"),
        *(["--auth"] if auth else []),
    ]
    log.touch(mode=0o600)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=_environment(),
            start_new_session=True,
            umask=0o077,
        )
    record = ServerRecord(process.pid, socket.gethostname(), token, time.time())
    record.save(record_path)
    try:
        record = replace(record, port=_wait_until_listening(process, log))
    except DatabaseError:
        if port:
            return start_server(folder, record_path, cache=cache, port=0, auth=auth)
        record_path.unlink(missing_ok=True)
        raise
    finally:
        config.unlink(missing_ok=True)
    record.save(record_path)
    return record


def end_process(process: psutil.Process) -> None:
    """End a process that was proved to be ours: ask first, then kill."""
    try:
        process.terminate()
        try:
            process.wait(_STOP_DEADLINE)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(_STOP_DEADLINE)
    except psutil.NoSuchProcess:
        return


def servers_on(data: Path) -> list[psutil.Process]:
    """Return this user's processes that serve the folder `data`: starts that nobody recorded."""
    found = []
    for process in psutil.process_iter():
        try:
            arguments = process.cmdline()
            if (
                "secantus" in arguments
                and str(data) in arguments
                and process.uids().real == os.getuid()
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _wait_until_listening(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + _START_DEADLINE
    watched = psutil.Process(process.pid)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DatabaseError(
                f"The embedded server ended with code {process.returncode} before it listened; the "
                f"end of {log}: {_tail(log)}"
            )
        try:
            for connection in watched.net_connections(kind="inet"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.ip == LOOPBACK:
                    return int(connection.laddr.port)
        except psutil.Error:
            pass  # it has just ended: the next round says why
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise DatabaseError(
        f"The embedded server did not listen within {_START_DEADLINE:.0f} s; see {log}."
    )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _environment() -> dict[str, str]:
    """Return the environment without our secrets, and without switches that cost durability."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NEAREDGE_", "SECANTUS_"))
    }
    return {**kept, "SECANTUS_FORCE_DURABLE": "1"}


def _tail(log: Path, lines: int = 5) -> str:
    try:
        return " | ".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
