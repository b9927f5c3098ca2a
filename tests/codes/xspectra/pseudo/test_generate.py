"""What ld1.x makes is judged for real, and kept so that nobody gets a damaged one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nearedge.codes.xspectra.pseudo import generate, pseudopotentials
from nearedge.codes.xspectra.pseudo.generate import potential
from nearedge.codes.xspectra.pseudo.recipes import Recipe, recipe_of
from nearedge.errors import CodeError, InputRefused
from nearedge.settings import get_settings

pytestmark = pytest.mark.integration


def _titanium(local: str = "p", **channels: float) -> Recipe:
    good = recipe_of("Ti").model_dump()
    return Recipe.model_validate(good | {"local": local, "channels": good["channels"] | channels})


@pytest.mark.parametrize(
    ("recipe", "name", "says"),
    [
        # Measured: 0.8 to 0.9 poles more in s from 1.5 Ry on, where its reference levels are right.
        (_titanium("d", **{"3D": 1.2}), "ghost_state", "a ghost state in its s channel"),
        # Far below its reference levels, where no logarithmic derivative shows it.
        (
            _titanium("d", **{"3S": 0.7, "3P": 1.2, "3D": 0.8}),
            "ghost_state",
            "level 1 of its . channel lies at -",
        ),
        (_titanium("s", **{"3S": 2.0, "3D": 1.2}), "log_derivative", "wrong scattering"),
        (_titanium(**{"3D": 60.0}), "ld1_failed", "did not make the potential of Ti"),
    ],
    ids=["ghost above zero", "deep ghost", "wild radius", "hopeless radius"],
)
def test_a_bad_recipe_is_refused_by_name_and_leaves_nothing(ld1, recipe, name, says):
    before = _entries()
    with pytest.raises(CodeError, match=says) as refused:
        potential("Ti", recipe, hole=False)
    assert refused.value.name == name
    assert _entries() == before


def test_a_potential_is_made_once_and_the_same_again(in_home, ld1, tmp_path, monkeypatch):
    first = potential("B", recipe_of("B"), hole=False)
    in_home(tmp_path)
    assert potential("B", recipe_of("B"), hole=False) == first
    monkeypatch.setattr(generate, "_make", lambda *_: pytest.fail("it was made again"))
    assert potential("B", recipe_of("B"), hole=False) == first


@pytest.mark.parametrize("damage", ["made.UPF", "manifest.json"])
def test_a_damaged_potential_is_made_again(in_home, ld1, potentials_home, tmp_path, damage):
    good = potential("B", recipe_of("B"), hole=False)
    shutil.copytree(potentials_home / "cache", tmp_path / "cache")
    in_home(tmp_path)
    before = _entries()
    for path in (entry / damage for entry in before):
        path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert potential("B", recipe_of("B"), hole=False) == good
    assert _entries() == before


def test_one_that_another_process_has_just_put_there_is_used(
    in_home, ld1, potentials_home, tmp_path, monkeypatch
):
    in_home(potentials_home)
    theirs = potential("B", recipe_of("B"), hole=False)
    in_home(tmp_path)
    made = generate._generate

    def slow(*of):
        result = made(*of)
        shutil.copytree(potentials_home / "cache", tmp_path / "cache", dirs_exist_ok=True)
        return result

    monkeypatch.setattr(generate, "_generate", slow)
    assert potential("B", recipe_of("B"), hole=False) == theirs
    assert not [each for each in _entries() if each.name.startswith(".")]


@pytest.mark.slow
def test_two_processes_may_make_the_same_at_once(in_home, ld1, tmp_path):
    in_home(tmp_path)
    command = (
        "from nearedge.codes.xspectra.pseudo.generate import potential\n"
        "from nearedge.codes.xspectra.pseudo.recipes import recipe_of\n"
        "print(len(potential('B', recipe_of('B'), hole=False).upf))\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    lengths = {process.communicate(timeout=300)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(lengths) == 1
    assert len(_entries()) == 1


def test_a_program_that_is_not_ld1_is_named(in_home, tmp_path, monkeypatch):
    impostor = tmp_path / "ld1.x"
    impostor.write_text("#!/bin/sh\necho hello\n", encoding="utf-8")
    impostor.chmod(0o755)
    monkeypatch.setenv("NEAREDGE_LD1_COMMAND", str(impostor))
    in_home(tmp_path / "home")
    with pytest.raises(InputRefused, match=r"is not ld1\.x: it says 'hello'") as refused:
        pseudopotentials(["O"], "O")
    assert refused.value.name == "ld1_missing"


def _entries() -> list[Path]:
    """Everything below the cache's folder, drafts and leftovers too."""
    folder = get_settings().cache / "pseudopotentials"
    return sorted(folder.iterdir()) if folder.is_dir() else []
