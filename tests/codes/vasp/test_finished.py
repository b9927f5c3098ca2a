"""Finished VASP calculations of others are taken back, with structure, site and parameters."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nearedge.codes import get_code
from nearedge.codes.base import BadRun, FinishedRun


def test_the_recorded_run_is_taken_back(recorded: Path) -> None:
    (run,) = get_code("vasp").finished(recorded)
    assert isinstance(run, FinishedRun), run
    assert run.structure.composition.formula == "Li28 P12 S44"
    assert (run.absorber, run.absorbing_index, run.edge) == ("S", 0, "K")
    assert run.protocol == "custom"
    assert run.code_version == "6.1.1"
    assert run.parameters["bands"].value == 704
    assert run.parameters["k_mesh"].value == ["G", 3, 3, 3]
    assert run.parameters["potentials"].value == ["S_GW", "Li_GW", "P_GW", "S_GW"]
    assert run.parameters["functional"].value == "LDA"
    assert run.parameters["energy_cutoff"].unit == "eV"
    assert sorted(run.inputs) == ["INCAR", "KPOINTS", "POSCAR", "POTCAR.spec"]
    assert run.inputs["POTCAR.spec"] == "S_GW\nLi_GW\nP_GW\nS_GW\n"


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "reason"),
    [
        ("OUTCAR", r"ions per type = .*", "ions per type = 1 28 12 42", "84 sites, OUTCAR 83"),
        ("OUTCAR", r"CLL  =           0", "CLL  =           1", "CLL = 1 is no K or L edge"),
        ("OUTCAR", r"TITEL  = PAW Li_GW", "TITEL  = PAW Na_GW", "Li where OUTCAR has Na"),
        ("POSCAR", r"2\.6900120737000002", "a third", "POSCAR cannot be read"),
    ],
)
def test_what_does_not_fit_together_is_listed(
    copied: Path, name: str, pattern: str, replacement: str, reason: str
) -> None:
    path = copied / name
    text, count = re.subn(pattern, replacement, path.read_text())
    assert count
    path.write_text(text)
    (run,) = get_code("vasp").finished(copied)
    assert isinstance(run, BadRun)
    assert reason in run.reason


def test_a_core_hole_in_every_atom_of_a_type_is_given_to_none(copied: Path) -> None:
    incar, outcar = copied / "INCAR", copied / "OUTCAR"
    incar.write_text(incar.read_text().replace("CLNT = 1", "CLNT = 4"))
    outcar.write_text(outcar.read_text().replace("CLNT =           1", "CLNT =           4"))
    (run,) = get_code("vasp").finished(copied)
    assert isinstance(run, BadRun)
    assert "a type of 43 atoms" in run.reason
