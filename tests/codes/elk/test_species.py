"""Elk's species files are read, changed as the 1s needs it, and written so that Elk reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nearedge.codes.elk.species import (
    absorber,
    core_level_estimate,
    core_radius,
    load_species,
    parse_species,
    search_margin,
    search_start,
    spectator,
    write_species,
)
from nearedge.errors import InputRefused, ResourceError

# Of an element that does not exist, in the form of Elk's files.
TEXT = """\
 'Xx'                                       : spsymb
 'unobtainium'                              : spname
  -12.0000                                  : spzn
   44000.12345                              : spmass
  0.500000E-06    2.2000   40.0000   400    : rminsp, rmt, rmaxsp, nrmt
   4                                        : nstsp
   1   0   1   2.00000    T                 : nsp, lsp, ksp, occsp, spcore
   2   0   1   2.00000    F
   2   1   2   6.00000    F
   3   0   1   2.00000    F
   1                                        : apword
    0.1500   0  F                           : apwe0, apwdm, apwve
   0                                        : nlx
   2                                        : nlorb
   0   2                                    : lorbl, lorbord
    0.1500   0  F                           : lorbe0, lorbdm, lorbve
    0.1500   1  F
   0   2                                    : lorbl, lorbord
    0.1500   0  F                           : lorbe0, lorbdm, lorbve
   -2.5000   0  T
"""


def test_a_file_is_the_same_after_being_written_and_read_again() -> None:
    species = parse_species(TEXT, "Xx.in")
    assert species.radius == 2.2
    assert species.states[0].core
    assert not species.states[1].core
    assert species.orbitals[1].terms == ((0.15, 0, False), (-2.5, 0, True))
    assert parse_species(write_species(species), "again") == species


def test_the_absorber_has_its_1s_in_the_valence_and_is_searched_for_nothing_else() -> None:
    changed = absorber(parse_species(TEXT, "Xx.in"), 1.3, -50.0)
    assert [state.core for state in changed.states] == [False, False, False, False]
    assert changed.radius == 1.3
    sought = [term for orbital in changed.orbitals for term in orbital.terms if term[2]]
    assert sought == [(-50.0, 0, True)]
    assert changed.orbitals[-1].l == 0


def test_the_other_atoms_of_the_element_differ_from_the_absorber_by_the_1s_alone() -> None:
    base = parse_species(TEXT, "Xx.in")
    other, promoted = spectator(base, 1.3), absorber(base, 1.3, -50.0)
    assert other.states[0].core
    assert promoted.orbitals[:-1] == other.orbitals
    assert replace(promoted, symbol="Xx", states=other.states, orbitals=other.orbitals) == other


@pytest.mark.parametrize(
    ("change", "by"),
    [
        ("   4      ", "   5      "),
        ("   0                  ", "   1 "),
        (" T ", " Q "),
        ("   400 ", " "),
    ],
)
def test_a_damaged_file_is_refused_by_name(change: str, by: str) -> None:
    with pytest.raises(InputRefused) as refused:
        parse_species(TEXT.replace(change, by, 1), "Xx.in")
    assert refused.value.name == "species_unreadable"


def test_a_missing_file_is_refused_with_the_package_that_has_it(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="elk-lapw"):
        load_species(tmp_path, "Ti")


@pytest.mark.parametrize(
    ("symbol", "seen"), [("B", -5.92), ("O", -18.25), ("Ti", -178.06)]
)  # EVALCORE.OUT of our own ground states
def test_the_search_for_a_level_starts_below_it_and_reaches_above_it(
    symbol: str, seen: float
) -> None:
    estimate = core_level_estimate(symbol)
    start = search_start(estimate)
    assert start < seen - 0.5
    assert seen + 0.5 < start + 2 * search_margin(estimate)


def test_a_sphere_shrinks_with_the_depth_of_the_level() -> None:
    assert core_radius(-178.1, 2.4) == pytest.approx(1.2, abs=0.01)  # found to work for Ti
    assert core_radius(-6.0, 1.45) == 1.45
    assert core_radius(-320.0, 2.4) < 1.0


def test_the_installed_files_are_all_understood(species_folder: Path) -> None:
    files = [path for path in species_folder.glob("*.in") if path.name != "elk.in"]
    assert len(files) > 90
    for path in files:
        species = parse_species(path.read_text(), path.name)
        assert parse_species(write_species(species), path.name) == species
