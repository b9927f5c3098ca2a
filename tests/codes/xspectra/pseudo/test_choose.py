"""Every recipe makes, for real, potentials that pass; and a calculation gets what it needs."""

from __future__ import annotations

import pytest

from nearedge.codes.xspectra.pseudo import pseudopotentials
from nearedge.codes.xspectra.pseudo.check import EIGENVALUE, GHOST_LEVEL, PHASE
from nearedge.codes.xspectra.pseudo.recipes import load_recipes
from nearedge.codes.xspectra.pseudo.upf import read_upf
from nearedge.errors import InputRefused
from nearedge.settings import get_settings

# Ry; what each needs at least and at most, with the core hole.
CUTOFFS = {
    **{"B": (25, 45), "C": (35, 55), "N": (45, 60), "O": (55, 75)},
    **{"Ti": (60, 80), "V": (65, 85), "Cr": (70, 90), "Mn": (75, 100)},
    **{"Fe": (80, 100), "Co": (85, 105), "Ni": (85, 105), "Cu": (90, 110)},
}

QUICK = ("B", "Cu", "O", "Ti")
"""The lightest, the heaviest, and those of the benchmark; two or three CPU-seconds each."""


@pytest.mark.integration
@pytest.mark.parametrize(
    "element",
    [
        pytest.param(element, marks=() if element in QUICK else pytest.mark.slow)
        for element in sorted(load_recipes().elements)
    ],
)
def test_a_recipe_makes_potentials_that_pass_their_checks(ld1, element):
    made = pseudopotentials([element], element)
    ground = read_upf(made.files[made.name_of(element)])
    hole = read_upf(made.files[made.core_hole_name])
    assert hole.header.has_gipaw
    assert hole.header.element == ground.header.element == element
    assert made.core_hole_charge == hole.header.valence - ground.header.valence == 1.0
    assert made.valence(element) == ground.header.valence
    assert sorted(made.checks) == [element, f"{element}.fch"]
    for check in made.checks.values():
        assert 0 < check["level"] < GHOST_LEVEL
        assert 0 < check["phase"] < PHASE
        assert 0 < check["eigenvalue"] < EIGENVALUE
    least, most = CUTOFFS[element]
    assert made.cutoff is not None
    assert least < made.cutoff < most
    # r times the 1s wave, normalised: what xspectra.x excites from.
    wave = next(each for each in ground.core_waves if (each.n, each.l) == (1, 0))
    widths = ground.radii * 0.0125  # ld1.x's logarithmic mesh
    assert (wave.values**2 * widths).sum() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.integration
def test_a_calculation_gets_each_elements_file_and_the_absorbers(ld1):
    made = pseudopotentials(["O", "Ti"], "Ti")
    assert sorted(made.files) == ["Core_Ti.wfc", "O.UPF", "Ti.UPF", "Ti.fch.UPF"]
    assert (made.name_of("O"), made.name_of("Ti")) == ("O.UPF", "Ti.UPF")
    assert (made.core_hole_name, made.core_wavefunction_name) == ("Ti.fch.UPF", "Core_Ti.wfc")
    assert (made.valence("Ti"), made.valence("O")) == (12.0, 6.0)
    assert made.files["Core_Ti.wfc"].startswith("# number of core states 3 =  1 0;  2 0;  2 1;\n")
    oxygen = pseudopotentials(["O"], "O")
    assert made.identity == oxygen.identity
    assert made.cutoff is not None
    assert oxygen.cutoff is not None
    assert made.cutoff > oxygen.cutoff


def test_other_edges_are_refused():
    with pytest.raises(InputRefused, match="only the K edge") as refused:
        pseudopotentials(["Ti"], "Ti", "L3")
    assert refused.value.name == "unsupported_edge"


def test_without_ld1_the_user_is_told_how_to_get_it_or_do_without(
    in_home, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEAREDGE_LD1_COMMAND", "no-such-ld1.x")
    in_home(tmp_path)
    assert get_settings().ld1_command == "no-such-ld1.x"
    with pytest.raises(InputRefused, match=r"apt install quantum-espresso.*pseudo_path") as refused:
        pseudopotentials(["O"], "O")
    assert refused.value.name == "ld1_missing"
