"""Exit codes, one sentence for an error, and nothing heavy before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nearedge import __version__
from nearedge.errors import DatabaseUnavailable
from nearedge.store.spectra_store import SpectraStore

from .conftest import Command


def break_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(settings: object = None) -> None:
        raise error

    monkeypatch.setattr(SpectraStore, "from_settings", fail)


def test_version_and_help_succeed(nearedge: Command) -> None:
    assert nearedge("--version").out == f"nearedge {__version__}\n"
    assert "submit" in nearedge("--help").out


def test_an_error_is_one_sentence_on_stderr_and_exit_code_1(
    nearedge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_with(DatabaseUnavailable("No database answers [here]: start it."), monkeypatch)
    said = nearedge("query", "--json")
    assert (said.code, said.out) == (1, "")
    assert said.err == "Error: No database answers [here]: start it.\n"


def test_debug_shows_the_traceback_before_and_after_the_verb(
    nearedge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_with(DatabaseUnavailable("Down."), monkeypatch)
    for arguments in (("--debug", "query"), ("query", "--debug")):
        said = nearedge(*arguments)
        assert said.code == 1
        assert "Traceback" in said.err
        assert said.err.endswith("Error: Down.\n")


def test_a_defect_is_called_one_without_a_traceback(
    nearedge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_with(ZeroDivisionError("by zero"), monkeypatch)
    said = nearedge("query")
    assert said.code == 1
    assert "Unexpected ZeroDivisionError: by zero" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("query", "--limit", "0"),
        ("query", "--kind", "both"),
        ("query", "--json", "--csv"),
        ("query", "--project", "$where"),
        ("query", "--project", "../other"),
        ("plot", "--output", "spectra.pdf"),
        ("export", "--format", "hdf5", "--output", "x"),
        ("export",),
        ("export", "--output", ""),
        ("ingest", ""),
        ("query", "--elements", ","),
        ("query", "--limit", "99999999999999999999"),
        ("query", "--skip", "99999999999999999999"),
        ("submit",),
    ],
)
def test_wrong_usage_has_exit_code_2(nearedge: Command, arguments: tuple[str, ...]) -> None:
    said = nearedge(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom nearedge.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'pymatgen', 'pymongo', 'pydantic', 'plotly', 'fireworks'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "HEAVY []"


RUN = (sys.executable, "-P", "-m", "nearedge")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["query", "--help"]])
def test_a_full_disk_behind_a_pipe_is_one_sentence(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        said = subprocess.run(
            [*RUN, *arguments], check=False, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert said.returncode == 1
    assert said.stderr.startswith("Error: ")
    assert "Traceback" not in said.stderr


@pytest.mark.usefixtures("home")
def test_closed_streams_lead_nowhere() -> None:
    closing = ["/bin/sh", "-c", '"$@" <&- >&- 2>&-', "sh", *RUN, "status"]
    assert subprocess.run(closing, check=False).returncode == 0
    without_output = ["/bin/sh", "-c", '"$@" >&-', "sh", *RUN, "status"]
    said = subprocess.run(without_output, capture_output=True, text=True, check=True)
    assert "defect" not in said.stderr


def test_an_interrupted_verb_says_so(nearedge: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(settings: object = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SpectraStore, "from_settings", interrupt)
    said = nearedge("query", "--json")
    assert (said.code, said.out) == (130, "")
    assert said.err.startswith("Interrupted")


def test_a_terminated_command_takes_its_drafts_away(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\nimport nearedge.cli\n"
        "from nearedge.cli.files import written_whole\n"
        "def work():\n"
        "    with written_whole(Path('x.csv')):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "import sys\nmodule = sys.modules['nearedge.cli.app']\n"
        "module.app = work\nmodule.main()\n"
    )
    said = subprocess.run([sys.executable, "-P", "-c", code], check=False, cwd=tmp_path)
    assert said.returncode == 143
    assert list(tmp_path.iterdir()) == []
