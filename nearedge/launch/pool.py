"""Several workers on this machine: start, watch, end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from pydantic import BaseModel, SecretStr

from nearedge.errors import LaunchError
from nearedge.launch.window import Window
from nearedge.settings import PREFIX, Settings
from nearedge.store.connection import connect

END_SECONDS = 30.0
"""Time that a worker has to end its job's processes before it is killed."""

_POLL_SECONDS = 0.2

_PAUSE_PER_LOOK = 20
"""How many times longer than a look the pause after it is at least."""


@dataclass(frozen=True)
class PoolSummary:
    """What the workers did together: numbers of Fireworks, except `killed`, of workers.

    Parameters
    ----------
    completed, failed, put_back
        Fireworks that ended, that fizzled, and that were interrupted and will run again. A site
        whose code failed by name counts as completed: its calculation document says how it ended.
    killed
        Workers that ended without a summary; what they held is put back by `recover`.
    messages
        What workers printed before they gave up.
    interrupted
        Whether the pool was asked to end.
    """

    completed: int = 0
    failed: int = 0
    put_back: int = 0
    killed: int = 0
    messages: tuple[str, ...] = ()
    interrupted: bool = False


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    output: Path
    errors: Path


def run_workers(
    count: int,
    settings: Settings,
    *,
    forever: bool = False,
    watch: Callable[[], None] | None = None,
    watch_seconds: float = 1.0,
    about: Mapping[str, str] | None = None,
    query: Mapping[str, object] | None = None,
    window: Window | None = None,
) -> PoolSummary:
    """Start `count` workers, wait until the queue is empty, and return what they did.

    On Ctrl-C and on SIGTERM the workers are asked to end; they end their codes' processes and put
    their jobs back. Should this process be killed outright, the workers notice and end too.

    Parameters
    ----------
    count
        Number of worker processes.
    settings
        Handed to the workers through their environment.
    forever
        Wait for more work when the queue is empty.
    watch
        Called every `watch_seconds` while workers run, less often where it takes long, for a live
        display. What it raises ends the workers and is raised on.
    about
        Take only jobs that say this of themselves, such as one ``convergence_id``.
    query
        Take only Fireworks that it finds.
    window
        Begin nothing that is not likely to end in this time, and end when it closes.

    Raises
    ------
    LaunchError
        If `count` is less than one.
    DatabaseUnavailable, ForeignDatabase
        If the database is not there or not NearEdge's; no worker is started then.
    """
    if count < 1:
        raise LaunchError(f"A pool needs at least one worker, not {count}.")
    connect(settings)
    stop = threading.Event()
    options = _options(forever, about or {}, query, window)
    with _signals(stop):
        workers = [_start(number, settings, options) for number in range(count)]
        try:
            _wait(workers, stop, watch, watch_seconds)
        finally:
            _end(workers)
    return _summary(workers, interrupted=stop.is_set())


def worker_environment(settings: Settings) -> dict[str, str]:
    """Return an environment in which `load_settings` gives `settings`, whatever files say."""
    environment = {k: v for k, v in os.environ.items() if not _is_setting(k)}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        elif isinstance(value, BaseModel):
            value = value.model_dump_json(exclude_unset=True)
        if value is not None:
            environment[PREFIX + name.upper()] = str(value)
    # Several workers share the cores; one thread each is what they are counted as.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setdefault(variable, "1")
    return environment


def _is_setting(variable: str) -> bool:
    return variable.upper().removeprefix(PREFIX).lower() in Settings.model_fields and (
        variable.upper().startswith(PREFIX)
    )


def _options(
    forever: bool,
    about: Mapping[str, str],
    query: Mapping[str, object] | None,
    window: Window | None,
) -> list[str]:
    options = ["--forever"] if forever else []
    for name, value in about.items():
        options += ["--about", f"{name}={value}"]
    if query:
        options += ["--query", json.dumps(query)]
    if window is not None:
        options += ["--window", window.text]
    return options


def _start(number: int, settings: Settings, options: Sequence[str]) -> _Running:
    logs = settings.home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    stem = f"worker-{os.getpid()}-{number}"
    output, errors = logs / f"{stem}.out", logs / f"{stem}.log"
    # -P: no module of the working folder is imported in place of an installed one.
    command = [sys.executable, "-P", "-m", "nearedge.launch.worker", "--parent", str(os.getpid())]
    command += options
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=worker_environment(settings),
            # Ctrl-C in a terminal goes to the whole group; the pool passes it on in order.
            start_new_session=True,
        )
    return _Running(process, output, errors)


def _wait(
    workers: list[_Running],
    stop: threading.Event,
    watch: Callable[[], None] | None,
    watch_seconds: float,
) -> None:
    next_look = time.monotonic()
    while not stop.is_set() and any(worker.process.poll() is None for worker in workers):
        if watch is not None and time.monotonic() >= next_look:
            began = time.monotonic()
            watch()
            # Of 30,000 jobs that wait, a look reads each: that takes a second of the server.
            pause = _PAUSE_PER_LOOK * (time.monotonic() - began)
            next_look = time.monotonic() + max(watch_seconds, pause)
        stop.wait(_POLL_SECONDS)
    if watch is not None and not stop.is_set():
        watch()


def _end(workers: list[_Running]) -> None:
    """Ask the workers that still run to end, and kill those that do not."""
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.terminate()
    deadline = time.monotonic() + END_SECONDS
    for worker in workers:
        try:
            worker.process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()


def _summary(workers: list[_Running], *, interrupted: bool) -> PoolSummary:
    completed = failed = put_back = killed = 0
    messages: list[str] = []
    for worker in workers:
        said = _last_line(worker.output)
        if worker.process.returncode == 0 and said.startswith("{"):
            counts = json.loads(said)
            completed += counts["completed"]
            failed += counts["failed"]
            put_back += counts["put_back"]
            worker.output.unlink()
            worker.errors.unlink()
            continue
        if worker.process.returncode == 1:
            messages.append(_last_line(worker.errors) or f"See {worker.errors}.")
        else:
            killed += 1
            messages.append(f"A worker ended by signal or crash; see {worker.errors}.")
    return PoolSummary(
        completed, failed, put_back, killed, tuple(dict.fromkeys(messages)), interrupted
    )


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM set `stop` inside the block; only the main thread may ask for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
