"""`nearedge up --webgui`, `down` and `status`: the web page's process, started and ended."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import SecretStr

from nearedge.errors import LaunchError
from nearedge.launch.pool import worker_environment
from nearedge.settings import Settings
from nearedge.store.server_process import LOOPBACK, ServerRecord, end_process, write_private

_START_SECONDS = 60.0


@dataclass(frozen=True)
class PageState:
    """How the web page is.

    Parameters
    ----------
    running
        Whether its process is there and listens.
    detail
        One sentence for people.
    url
        Where it is, while it runs here.
    started, ended
        Whether this call did so.
    """

    running: bool
    detail: str
    url: str | None = None
    started: bool = False
    ended: bool = False


class WebPage:
    """The web page of these settings; what it needs to be found lies in ``<home>/webgui``.

    Each queue has one of its own, in ``<home>/webgui-<launchpad>`` where it has another name.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        name = "webgui" if settings.launchpad_is_default else f"webgui-{settings.launchpad}"
        self.folder = settings.home / name
        self.log = self.folder / "server.log"
        self._record_path = self.folder / "server.json"
        self._password_path = self.folder / "password"

    def up(self, port: int = 0) -> PageState:
        """Start it unless it runs, on `port` of loopback or on a free one (0).

        Raises
        ------
        LaunchError
            If it ends before it listens, or runs on another port or machine.
        """
        state = self.status()
        record = ServerRecord.load(self._record_path)
        if state.running and record is not None:
            if port not in (0, record.port):
                raise LaunchError(
                    f"The web page runs on port {record.port} already: `nearedge down` ends it."
                )
            return state
        if record is not None and record.host != socket.gethostname():
            raise LaunchError(state.detail)
        self.down()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._start(port)
        state = self.status()
        return PageState(state.running, state.detail, state.url, started=True)

    def down(self) -> PageState:
        """End it; only ever a process that is proved to be ours.

        Raises
        ------
        LaunchError
            If it runs on another machine that shares the folder.
        """
        record = ServerRecord.load(self._record_path)
        if record is None:
            return PageState(False, "The web page was not running.")
        if record.host != socket.gethostname():
            raise LaunchError(self.status().detail)
        process = record.process()
        if process is not None:
            end_process(process)
        self._record_path.unlink(missing_ok=True)
        if process is None:
            return PageState(False, "The web page was not running.")
        return PageState(False, f"Ended the web page (process {process.pid}).", ended=True)

    def status(self) -> PageState:
        """Say what is true now; changes nothing."""
        record = ServerRecord.load(self._record_path)
        if record is None:
            return PageState(
                False, "The web page is not running: `nearedge up --webgui` starts it."
            )
        if record.host != socket.gethostname():
            return PageState(
                False,
                f"The web page was started on {record.host}: end it there, or, if that machine is "
                f"gone, remove {self._record_path}.",
            )
        if record.process() is None or record.port is None:
            return PageState(
                False, "The web page is gone without `nearedge down`: `nearedge up --webgui`."
            )
        url = f"http://{LOOPBACK}:{record.port}/projects/"
        return PageState(True, f"Web page: {url} ({self._login()})", url)

    def _login(self) -> str:
        if self._settings.webgui_password is not None:
            return "user nearedge, password NEAREDGE_WEBGUI_PASSWORD"
        return f"user nearedge, password in {self._password_path}"

    def _start(self, port: int) -> None:
        token = secrets.token_hex(16)
        # -P: no module of the working folder is imported in place of an installed one.
        command = [sys.executable, "-P", "-m", "nearedge.launch.webpage.server"]
        command += ["--port", str(port), "--token", token]
        settings = self._settings.model_copy(update={"webgui_password": self._password()})
        self.log.touch(mode=0o600)
        with self.log.open("ab") as output:
            start = self.log.stat().st_size
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=worker_environment(settings),
                start_new_session=True,
                umask=0o077,
            )
        record = ServerRecord(process.pid, socket.gethostname(), token, time.time())
        record.save(self._record_path)
        try:
            listening = _wait_until_listening(process)
        except LaunchError:
            self._record_path.unlink(missing_ok=True)
            raise LaunchError(
                f"The web page did not start: {_since(self.log, start) or f'see {self.log}'}"
            ) from None
        ServerRecord(record.pid, record.host, token, record.started_at, listening).save(
            self._record_path
        )

    def _password(self) -> SecretStr:
        """Return the password of the settings, or the one that lies in a file for its owner."""
        if self._settings.webgui_password is not None:
            return self._settings.webgui_password
        if not self._password_path.exists():
            write_private(self._password_path, secrets.token_urlsafe(24) + "\n")
        if self._password_path.stat().st_mode & 0o077:
            raise LaunchError(
                f"{self._password_path} can be read by others: `chmod 600` it, or remove it, and "
                "another is made."
            )
        return SecretStr(self._password_path.read_text().strip())


def _wait_until_listening(process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + _START_SECONDS
    watched = psutil.Process(process.pid)
    while time.monotonic() < deadline and process.poll() is None:
        try:
            # Its children answer, once they have the application.
            if watched.children():
                for connection in watched.net_connections(kind="inet"):
                    if connection.status == psutil.CONN_LISTEN:
                        return int(connection.laddr.port)
        except psutil.Error:
            pass  # it has just ended
        time.sleep(0.05)
    if process.poll() is None:
        process.kill()
        process.wait()
    raise LaunchError("The web page did not listen.")


def _since(log: Path, start: int) -> str:
    """Return the last line that was written to a log after its first `start` bytes."""
    with log.open("rb") as text:
        text.seek(start, os.SEEK_SET)
        lines = text.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
