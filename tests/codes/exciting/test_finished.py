"""Finished exciting calculations of others; see test_run for inputs that name their absorber."""

from __future__ import annotations

from pathlib import Path

import pytest

from nearedge.codes import get_code
from nearedge.codes.base import BadRun, FinishedRun
from nearedge.codes.exciting.parse import read_deck
from nearedge.structures.absorbers import unique_absorbers


def test_a_spectrum_of_several_atoms_is_not_given_to_one(recorded: Path) -> None:
    """The recorded spectrum has the 1s levels of two N that no symmetry makes equal."""
    deck = read_deck(recorded)
    assert deck.bse["nstlbse"].split()[:2] == ["1", "2"], "two core levels"
    assert [each.equivalent for each in unique_absorbers(deck.structure, "N")] == [(13,), (14,)]
    (run,) = get_code("exciting").finished(recorded)
    assert isinstance(run, BadRun)
    assert run.reason == (
        "input.xml names no absorbing atom (xas, xasspecies, xasatom): its spectrum is the sum "
        "over all atoms with that core level and belongs to no one site; run it once for each site"
    )


def test_the_structure_of_the_recorded_input_is_read(recorded: Path) -> None:
    deck = read_deck(recorded)
    assert deck.structure.composition.formula == "H12 C13 N2 O1"
    assert deck.structure.lattice.abc == pytest.approx([11.6419, 7.9377, 18.5212], abs=1e-4)
    # The N=N bond of azobenzene, in angstrom.
    assert deck.structure.get_distance(13, 14) == pytest.approx(1.25, abs=0.01)


def test_a_stranger_who_names_the_atom_is_taken_back(copied: Path) -> None:
    path = copied / "input.xml"
    named = 'xas="true" xasspecies="2" xasatom="2" xasedge="K" nstlxas="1 50"'
    path.write_text(path.read_text().replace('nstlbse="1 2 1 50"', named))
    (run,) = get_code("exciting").finished(copied)
    assert isinstance(run, FinishedRun), run
    assert (run.absorber, run.absorbing_index, run.edge) == ("N", 14, "K")
    assert run.protocol == "custom"
    assert run.code_version == "boron (a06d9673)"
    assert run.parameters["bands"].value == [1, 50]
    assert run.parameters["gqmax"].value == 2.0
    assert run.parameters["broadening"].value == pytest.approx(0.2, abs=1e-6)
    assert len(run.result.spectrum) == 10000
