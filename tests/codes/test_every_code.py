"""Every code follows one recipe: the same rooms, protocols, a maker, recorded success and failures.

What was recorded is listed in ``tests/recorded/<code>/cases.yaml``; each failure is a recorded one,
or made from a success by one change (`remove` and `replace` take regular expressions, `truncate`
the share of the bytes that stays). A success that others computed may say with `not_ingested` why
its files do not tell what it is of.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nearedge.codes import code_names, get_code
from nearedge.codes.base import BadRun, FinishedRun, InputSet, KnownRun
from nearedge.codes.protocols import load_protocol, protocol_names
from nearedge.errors import CodeError
from nearedge.makers.simulation import SimulationMaker
from nearedge.settings import get_settings
from nearedge.structures.builtin import builtin_structure
from nearedge.workflows.spectrum import _SITE_MAKERS

RECORDED = Path(__file__).parents[1] / "recorded"
ROOMS = ("inputs", "run", "parse", "failures", "finished")
PROTOCOLS = ("fast", "balanced", "precise")
EDGES = ("K", "L1", "L2", "L3", "L23")

Shared = Callable[[str], Path]


def cases(code: str) -> dict[str, dict[str, Any]]:
    text = (RECORDED / code / "cases.yaml").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(text)
    assert set(loaded) == {"success", "failures"}
    return loaded


def every(kind: str) -> list[tuple[str, str]]:
    return [(code, label) for code in code_names() for label in cases(code)[kind]]


def recorded_folder(code: str, entry: dict[str, str], shared: Shared) -> Path:
    return shared(entry["shared"]) if "shared" in entry else RECORDED / code / entry["folder"]


def made(code: str, entry: dict[str, Any], folder: Path, shared: Shared) -> Path:
    """Return the folder of a failure; `folder` is where a changed copy goes."""
    if "of" not in entry:
        return recorded_folder(code, entry, shared)
    origin = recorded_folder(code, cases(code)["success"][entry["of"]], shared)
    shutil.copytree(origin, folder, copy_function=shutil.copyfile)
    if "delete" in entry:
        (folder / entry["delete"]).unlink()
        return folder
    file = folder / entry["file"]
    content = file.read_bytes()
    changed = content
    if "truncate" in entry:
        changed = content[: int(len(content) * entry["truncate"])]
    else:
        pattern, replacement = entry.get("replace") or (entry["remove"], "")
        changed = re.sub(pattern, replacement, content.decode()).encode()
    assert changed != content, "the change changes nothing"
    file.write_bytes(changed)
    return folder


def fast_inputs(name: str, binary: Callable[[str], str], crystal: str) -> InputSet:
    if name == "xspectra":
        binary("ld1_command")  # makes the pseudopotentials
    if name == "elk":
        binary("elk_command")  # brings the species files
    if name == "gpaw":
        binary("gpaw_python")  # tells what the setups are
    return get_code(name).inputs(builtin_structure(crystal).structure, 0, "K", "fast")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", code_names())
def test_every_code_has_the_same_rooms(name: str) -> None:
    for room in ROOMS:
        assert find_spec(f"nearedge.codes.{name}.{room}"), f"{name} has no {room}.py"
    for file in ("protocols.yaml", "convergence.yaml"):
        assert (files("nearedge.codes") / name / file).is_file(), f"{name} has no {file}"


@pytest.mark.parametrize("name", code_names())
def test_every_code_says_what_it_is(name: str) -> None:
    code = get_code(name)
    assert code.name == name
    assert code.title
    assert code.edges
    assert set(code.edges) <= set(EDGES)
    assert code.version()
    availability = code.availability()
    assert availability.detail
    assert bool(availability.remedy) != availability.found


@pytest.mark.parametrize(
    ("name", "command"),
    [("xspectra", each) for each in ("pw_command", "xspectra_command", "ld1_command")]
    + [(name, f"{name}_command") for name in ("elk", "ocean", "exciting", "vasp")]
    + [("gpaw", "gpaw_python")],
)
def test_a_command_that_starts_something_else_is_seen(
    name: str, command: str, binary: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "xspectra":
        binary("pw_command")  # looked at first
    monkeypatch.setenv(f"NEAREDGE_{command.upper()}", "/bin/false")
    get_settings.cache_clear()
    availability = get_code(name).availability()
    get_settings.cache_clear()
    assert not availability.found
    assert re.search("/bin/false (is not [a-z]|cannot import GPAW)", availability.detail)
    assert f"NEAREDGE_{command.upper()}" in availability.remedy


@pytest.mark.parametrize("name", code_names())
def test_every_code_has_the_three_protocols_with_the_same_settings(name: str) -> None:
    assert protocol_names(name)[:3] == PROTOCOLS, "cheapest first"
    protocols = [load_protocol(name, each) for each in PROTOCOLS]
    assert protocols[0].settings.keys() == protocols[1].settings.keys()
    assert protocols[0].settings.keys() == protocols[2].settings.keys()


@pytest.mark.parametrize("name", code_names())
def test_every_code_says_what_to_raise_to_converge(name: str) -> None:
    text = (files("nearedge.codes") / name / "convergence.yaml").read_text(encoding="utf-8")
    loaded = yaml.safe_load(text)
    assert set(loaded["thresholds"]) == set(PROTOCOLS)
    assert loaded["parameters"]
    assert set(loaded["parameters"]) <= load_protocol(name, "fast").settings.keys()


@pytest.mark.parametrize("name", code_names())
def test_every_code_has_its_maker_in_the_flows_map(name: str) -> None:
    maker = _SITE_MAKERS[name]
    assert issubclass(maker, SimulationMaker)
    assert maker.__module__ == f"nearedge.makers.{name}"
    assert maker().code == name


def test_the_flow_knows_no_code_that_is_none() -> None:
    assert set(_SITE_MAKERS) == set(code_names())


@pytest.mark.parametrize("name", code_names())
def test_every_code_tells_how_its_inputs_are_run_by_hand(
    name: str, binary: Callable[[str], str]
) -> None:
    inputs = fast_inputs(name, binary, "rutile")
    script = "\n".join(inputs.by_hand)
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
    decks = [each for each in inputs.files if Path(each).suffix == ".in"]
    species = {path for path in decks if re.fullmatch(r".*/[A-Z][a-z]?(_1s)?\.in", path)}
    for deck in {*decks} - species:
        assert Path(deck).name in script, f"{deck} is not run"


@pytest.mark.parametrize("name", code_names())
def test_equal_protocols_give_equal_parameters_whatever_the_structure(
    name: str, binary: Callable[[str], str]
) -> None:
    code = get_code(name)
    first, second = (fast_inputs(name, binary, each) for each in ("anatase", "rutile"))
    assert first.code == second.code == name
    assert first.protocol == second.protocol == load_protocol(name, "fast").label
    assert first.parameters == second.parameters
    assert first.parameters
    assert first.files != second.files
    again = code.inputs(builtin_structure("anatase").structure, 0, "K", first.protocol)
    assert again == first, "the same again, on every machine"


@pytest.mark.parametrize("name", code_names())
def test_every_code_has_recorded_success_and_failures(name: str) -> None:
    loaded = cases(name)
    assert len(loaded["success"]) >= 1
    assert len(loaded["failures"]) >= 3
    assert len({entry["raises"] for entry in loaded["failures"].values()}) >= 3
    # Nothing lies there that no case uses.
    folders = {each.name for each in (RECORDED / name).iterdir() if each.is_dir()}
    used = {
        str(entry["folder"]).split("/")[0]
        for kind in loaded.values()
        for entry in kind.values()
        if "folder" in entry
    }
    assert used <= folders


@pytest.mark.parametrize(("name", "label"), every("success"))
def test_a_recorded_success_is_read_and_left_as_it_is(
    name: str, label: str, shared: Shared
) -> None:
    folder = recorded_folder(name, cases(name)["success"][label], shared)
    before = contents(folder)
    result = get_code(name).read(folder)
    spectrum = result.spectrum
    assert spectrum.energy.size > 20
    assert np.all(np.isfinite(spectrum.absorption))
    assert np.all(np.diff(spectrum.energy) > 0)
    assert spectrum.absorption.max() > 0
    assert all(
        math.isfinite(parameter.value)
        for parameter in result.results.values()
        if isinstance(parameter.value, float)
    )
    assert contents(folder) == before


@pytest.mark.parametrize(("name", "label"), every("failures"))
def test_a_recorded_failure_has_its_name(
    name: str, label: str, tmp_path: Path, shared: Shared
) -> None:
    entry = cases(name)["failures"][label]
    folder = made(name, entry, tmp_path / "run", shared)
    with pytest.raises(CodeError) as caught:
        get_code(name).read(folder)
    assert caught.value.name == entry["raises"]
    assert re.fullmatch(r"[a-z][a-z0-9_]+", caught.value.name)
    assert caught.value.message.endswith(".")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(("name", "label"), every("success"))
def test_a_recorded_success_is_ingested_the_same_from_folder_and_archive(
    name: str, label: str, tmp_path: Path, shared: Shared
) -> None:
    code = get_code(name)
    folder = recorded_folder(name, cases(name)["success"][label], shared)
    entry = cases(name)["success"][label]
    (run,) = code.finished(folder)
    if "not_ingested" in entry:
        # A run of others may leave open what it is of.
        assert isinstance(run, BadRun)
        assert entry["not_ingested"] in run.reason
        return
    assert isinstance(run, FinishedRun), run
    assert run.structure[run.absorbing_index].specie.symbol == run.absorber
    assert run.edge in code.edges
    assert run.parameters
    assert run.inputs
    archive = shutil.make_archive(
        str(tmp_path / "packed"), "gztar", folder.parent, base_dir=folder.name
    )
    (packed,) = code.finished(Path(archive))
    assert isinstance(packed, FinishedRun), packed
    assert packed.fingerprint == run.fingerprint
    assert packed.parameters == run.parameters
    assert packed.structure == run.structure
    np.testing.assert_array_equal(packed.result.spectrum.absorption, run.result.spectrum.absorption)
    (known,) = code.finished(folder, known={run.fingerprint}.__contains__)
    assert isinstance(known, KnownRun)
