"""Real FEFF on TiO6, about four CPU seconds a run, and the ways in which a run can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nearedge.codes.feff import run as run_module
from nearedge.codes.feff.run import ALLOCATOR, RETRY_FOLDER, execute, run_feff
from nearedge.errors import CodeError, ResourceError

UNCHECKED = run_module.Deck({}, (), (), np.zeros((0, 3)), (), None)
PARENT = """
import signal
import sys
from pathlib import Path
from nearedge.codes.feff.run import execute
# Ignored where the tests are started in the background of a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)
execute(Path(sys.argv[1]), stage_timeout=600, progress=lambda stage: print(stage, flush=True))
"""


@pytest.mark.integration
def test_a_run_gives_the_recorded_spectrum(recorded, tmp_path, gone) -> None:
    recording = recorded("octahedron")
    stages: list[str] = []
    before = set(os.listdir())
    result = run_feff(
        recording.inputs(), tmp_path / "run", stage_timeout=600, progress=stages.append
    )
    table = np.loadtxt(recording.text("xmu.dat").splitlines())
    np.testing.assert_allclose(result.spectrum.energy, table[:, 0], atol=1e-3)
    np.testing.assert_allclose(
        result.spectrum.absorption, table[:, 3], atol=1e-4 * table[:, 3].max()
    )
    assert stages[:2] == ["rdinp", "atomic"]
    assert "fms" in stages
    assert result.attempts == 1
    assert result.warnings == []
    # The stages' time counts, not only the worker's own.
    assert result.cpu_seconds is not None
    assert result.cpu_seconds > 1
    # feff10 writes the deck anew; a folder that is kept has to be ingested by what was asked for.
    assert (tmp_path / "run" / "feff.inp").read_text() == recording.inputs().files["feff.inp"]
    assert gone(tmp_path / "run")
    assert set(os.listdir()) == before


@pytest.mark.integration
def test_an_unconverged_field_is_tried_again_with_safer_mixing(recorded, tmp_path) -> None:
    recording = recorded("scf_not_converged")
    result = run_feff(recording.inputs(), tmp_path / "run", stage_timeout=600)
    assert result.attempts == 2
    assert any("second attempt" in warning for warning in result.warnings)
    converged = np.loadtxt(recorded("octahedron").text("xmu.dat").splitlines())
    np.testing.assert_allclose(result.spectrum.absorption, converged[:, 3], atol=5e-3)
    assert (tmp_path / "run" / RETRY_FOLDER / "xmu.dat").is_file()


def play_back(recording, monkeypatch) -> list[Path]:
    """Let `execute` put the recorded output where FEFF would."""
    started: list[Path] = []

    def fake(folder: Path, **_: object) -> object:
        started.append(folder)
        for file in recording.folder.iterdir():
            if file.name != "feff.inp":
                (folder / file.name).write_bytes(file.read_bytes())
        return run_module._Outcome(done=True, cpu_seconds=2.0, wall_seconds=3.0)

    monkeypatch.setattr(run_module, "execute", fake)
    return started


def test_a_field_that_never_converges_fails_by_name(recorded, tmp_path, monkeypatch) -> None:
    recording = recorded("scf_not_converged")
    started = play_back(recording, monkeypatch)
    with pytest.raises(CodeError) as caught:
        run_feff(recording.inputs(), tmp_path / "run", stage_timeout=60)
    assert caught.value.name == "scf_not_converged"
    assert "Convergence not reached" in caught.value.log_tail
    assert started == [tmp_path / "run", tmp_path / "run" / RETRY_FOLDER]


def test_the_cost_of_both_attempts_is_counted(recorded, tmp_path, monkeypatch) -> None:
    bad, good = recorded("scf_not_converged"), recorded("octahedron")
    started = play_back(bad, monkeypatch)
    first = run_module.execute

    def second_is_good(folder: Path, **options: object) -> object:
        if started:
            play_back(good, monkeypatch)
            return run_module.execute(folder)
        return first(folder)

    monkeypatch.setattr(run_module, "execute", second_is_good)
    result = run_feff(bad.inputs(), tmp_path / "run", stage_timeout=60)
    assert (result.attempts, result.cpu_seconds, result.wall_seconds) == (2, 4.0, 6.0)


def test_an_output_of_another_edge_is_no_result(recorded, tmp_path, monkeypatch) -> None:
    recording = recorded("unknown_edge")
    play_back(recording, monkeypatch)
    asked = recording.deck.replace("EDGE P9", "EDGE L3")
    with pytest.raises(CodeError) as caught:
        run_feff(recording.inputs(asked), tmp_path / "run", stage_timeout=60)
    assert caught.value.name == "wrong_edge"
    assert caught.value.log_tail


def test_a_missing_output_is_no_result(recorded, tmp_path, monkeypatch) -> None:
    recording = recorded("octahedron")
    play_back(recording, monkeypatch)
    fake = run_module.execute

    def without(folder: Path, **_: object) -> object:
        outcome = fake(folder)
        (folder / "xmu.dat").unlink()
        return outcome

    monkeypatch.setattr(run_module, "execute", without)
    with pytest.raises(CodeError) as caught:
        run_feff(recording.inputs(), tmp_path / "run", stage_timeout=60)
    assert caught.value.name == "output_empty"


def test_a_folder_in_use_is_left_alone(recorded, tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ResourceError, match="not empty"):
        run_feff(recorded("octahedron").inputs(), tmp_path, stage_timeout=60)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("isolated_absorber", "norman_radius"),
        ("atoms_too_close", "atoms_too_close"),
        ("unused_potential", "unused_potential"),
        ("scf_mixing", "bad_input"),
        ("timeout", "stage_timeout"),
    ],
)
def test_feff_itself_fails_as_recorded(recorded, tmp_path, monkeypatch, case, name, gone) -> None:
    monkeypatch.setattr(
        run_module,
        "check_deck",
        lambda text: run_module.Deck({}, (), (), np.zeros((0, 3)), (), None),
    )
    with pytest.raises(CodeError) as caught:
        run_feff(
            recorded(case).inputs(),
            tmp_path / "run",
            stage_timeout=1.0 if case == "timeout" else 600,
        )
    assert caught.value.name == name
    assert gone(tmp_path / "run")


@pytest.mark.integration
def test_what_feff10s_validation_refuses_is_bad_input(recorded, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        run_module,
        "check_deck",
        lambda text: run_module.Deck({}, (), (), np.zeros((0, 3)), (), None),
    )
    deck = recorded("octahedron").deck
    spoiled = {
        "number": deck.replace("SCF 3.2", "SCF abc"),
        "potentials": deck[: deck.index("POTENTIALS")] + deck[deck.index("ATOMS") :],
    }
    for what, text in spoiled.items():
        with pytest.raises(CodeError, match="FEFF refuses the deck") as caught:
            run_feff(recorded("octahedron").inputs(text), tmp_path / what, stage_timeout=60)
        assert caught.value.name == "bad_input"


@pytest.mark.integration
def test_a_full_disk_is_a_resource_error(recorded, tmp_path) -> None:
    (tmp_path / "feff.inp").write_text(recorded("octahedron").deck)
    (tmp_path / "apot.bin").symlink_to("/dev/full")
    outcome = execute(tmp_path, stage_timeout=60)
    assert isinstance(run_module._why(outcome, tmp_path, 60), ResourceError)


def test_a_disk_too_full_to_begin_is_a_resource_error(recorded, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be written"):
        run_feff(recorded("octahedron").inputs(), tmp_path / "file" / "run", stage_timeout=60)


@pytest.mark.integration
@pytest.mark.parametrize("victim", ["worker.py", "feff10._worker"])
def test_a_killed_process_is_a_resource_error(
    recorded, tmp_path, victim: str, gone, processes_in
) -> None:
    recording = recorded("octahedron")

    def kill(stage: str) -> None:
        deadline = time.monotonic() + 5
        while stage == "pot" and time.monotonic() < deadline:
            for process in processes_in(tmp_path / "run"):
                if any(victim in word for word in process.cmdline()):
                    process.kill()
                    return

    with pytest.raises(ResourceError, match="killed"):
        run_feff(recording.inputs(), tmp_path / "run", stage_timeout=600, progress=kill)
    assert gone(tmp_path / "run")


@pytest.mark.integration
def test_an_error_in_the_progress_callback_ends_feff(recorded, tmp_path, gone) -> None:
    def stop(stage: str) -> None:
        if stage == "pot":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_feff(recorded("octahedron").inputs(), tmp_path / "run", stage_timeout=60, progress=stop)
    assert gone(tmp_path / "run")


@pytest.mark.integration
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_feff_outlives_its_parent(
    recorded, tmp_path, stop: signal.Signals, gone, processes_in
) -> None:
    (tmp_path / "feff.inp").write_text(recorded("anatase").deck.replace("SCF 3.2", "SCF 6.0"))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    while (line := parent.stdout.readline().strip()) != "pot":
        assert line, "FEFF ended before its stage pot"
    time.sleep(0.3)
    running = processes_in(tmp_path)
    stages = [p for p in running if "feff10._worker" in p.cmdline()]
    assert len(stages) == 1
    assert all(stages[0].environ()[name] == value for name, value in ALLOCATOR.items())
    assert len({os.getpgid(p.pid) for p in running}) == 1
    assert os.getpgid(stages[0].pid) != os.getpgid(0)
    parent.send_signal(stop)
    parent.wait(10)
    assert gone(tmp_path, 2.0)
