"""Ctrl-C while a job runs: its processes end, nothing is left running, and the verb goes on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from nearedge.settings import Settings
from nearedge.structures.source import LoadedStructure

from .conftest import Command


def _at_work(settings: Settings) -> list[psutil.Process]:
    """Return FEFF's processes, wherever they hang; their command names the folder of the run."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(settings.runs) in word for word in process.info["cmdline"] or [])
    ]


@contextmanager
def _interrupted_at_work(settings: Settings) -> Iterator[None]:
    """Do what Ctrl-C does as soon as FEFF runs; nothing once the block is left."""
    over = threading.Event()

    def wait() -> None:
        while not over.wait(0.05):
            if _at_work(settings):
                os.kill(os.getpid(), signal.SIGINT)
                return

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.integration
@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    ("verb", "options", "steps"),
    [
        ("benchmark", ("--codes", "feff:fast", "--workers", "1"), 1),
        pytest.param(
            "converge",
            ("--protocol", "fast", "--parameters", "fms_radius", "--values", "fms_radius=4,5"),
            2,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_interrupted_leaves_nothing_running_and_goes_on(
    nearedge: Command,
    embedded_settings: Settings,
    molecule: Callable[[str], LoadedStructure],
    tmp_path: Path,
    verb: str,
    options: tuple[str, ...],
    steps: int,
) -> None:
    file, page = tmp_path / "CO.cif", tmp_path / "page.html"
    molecule("CO").structure.to(filename=str(file))
    asked = (verb, file, "--absorber", "C", *options, "--output", page)
    with _interrupted_at_work(embedded_settings):
        said = nearedge(*asked)
    assert said.code == 130, said.err
    assert "the same command goes on" in said.err
    assert not page.exists(), "no page of half of it"
    assert _at_work(embedded_settings) == []
    status = nearedge("status", "--json").json
    assert status["queue"].get("READY", 0) >= 1
    assert not {"RUNNING", "RESERVED", "FIZZLED"} & set(status["queue"])
    assert status["running"] == [], "the claim is given back"
    assert status["calculations"] == {}

    again = nearedge(*asked)
    assert again.code == 0, again.err
    assert page.exists()
    calculations = nearedge("query", "--calculations", "--json").json
    assert [each["state"] for each in calculations] == steps * ["completed"]
    assert set(nearedge("status", "--json").json["queue"]) == {"COMPLETED"}
    assert nearedge(*asked).code == 0
    assert nearedge("query", "--calculations", "--json").json == calculations
