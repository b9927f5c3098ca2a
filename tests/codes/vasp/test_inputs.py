"""VASP's inputs are Lightshow's, in a supercell; POTCAR is named and never written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes import get_code
from nearedge.codes.vasp.deck import parse_incar, read_structure
from nearedge.structures.identity import structure_id
from nearedge.structures.supercell import shortest_vector

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
WUSTITE = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(4.33), ["Fe", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)


@pytest.mark.parametrize(("index", "types"), [(0, "Ti Ti O"), (3, "O O Ti")])
def test_the_absorber_is_a_type_of_its_own_in_a_supercell(index: int, types: str) -> None:
    files = get_code("vasp").inputs(RUTILE, index, "K", "fast").files
    assert sorted(files) == ["INCAR", "KPOINTS", "POSCAR", "POTCAR.spec"]
    lines = files["POSCAR"].splitlines()
    assert lines[5] == types
    assert lines[6].split()[0] == "1"
    cell = read_structure(files["POSCAR"])
    assert structure_id(cell) == structure_id(RUTILE)
    assert shortest_vector(cell.lattice) >= 6.0
    tags = parse_incar(files["INCAR"])
    assert (tags["CLNT"], tags["CLN"], tags["CLL"], tags["ICORELEVEL"]) == ("1", "1", "0", "2")


def test_the_absorber_is_the_site_that_was_asked_for() -> None:
    """The two Ti of a distorted cell differ; the first site of POSCAR has the right neighbours."""
    structure = RUTILE.copy()
    structure.translate_sites([0], [0.02, 0.0, 0.0])
    for index in (0, 1):
        cell = read_structure(
            get_code("vasp").inputs(structure, index, "K", "fast").files["POSCAR"]
        )
        near = sorted(each.nn_distance for each in cell.get_neighbors(cell[0], 2.3))
        wanted = sorted(each.nn_distance for each in structure.get_neighbors(structure[index], 2.3))
        assert near == pytest.approx(wanted, abs=1e-6)
    assert len(near) == 6


def test_potentials_are_named_and_none_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the environment leads Lightshow to some."""
    for element in ("Ti_sv_GW", "O_GW"):
        (tmp_path / element).mkdir()
        (tmp_path / element / "POTCAR").write_text("licensed\n12.0\n")
    monkeypatch.setenv("VASP_POTCAR_DIRECTORY", str(tmp_path))
    files = get_code("vasp").inputs(RUTILE, 0, "K", "fast").files
    assert "POTCAR" not in files
    assert files["POTCAR.spec"] == "Ti_sv_GW\nTi_sv_GW\nO_GW\n"
    assert not any("licensed" in text for text in files.values())


def test_moments_and_hubbard_u_follow_the_types() -> None:
    files = get_code("vasp").inputs(WUSTITE, 0, "K", "fast").files
    tags = parse_incar(files["INCAR"])
    iron, oxygen = sum(map(int, files["POSCAR"].splitlines()[6].split()[:2])), None
    assert files["POSCAR"].splitlines()[5] == "Fe Fe O"
    oxygen = int(files["POSCAR"].splitlines()[6].split()[2])
    assert tags["MAGMOM"] == f"{iron}*5.0 {oxygen}*0.6"
    assert tags["LDAUU"] == "5.3 5.3 0"
    plain = get_code("vasp").inputs(WUSTITE, 0, "K", "fast@1+hubbard_u=false+spin=false")
    tags = parse_incar(plain.files["INCAR"])
    assert not any(name.startswith("LDAU") for name in tags)
    assert tags["ISPIN"] == "1"
    assert "MAGMOM" not in tags


def test_the_precise_protocol_has_lightshows_values() -> None:
    files = get_code("vasp").inputs(RUTILE, 0, "K", "precise").files
    tags = parse_incar(files["INCAR"])
    cell = read_structure(files["POSCAR"])
    titanium = cell.composition["Ti"]
    valence = 12 * titanium + 6 * cell.composition["O"]
    assert int(tags["NBANDS"]) == valence + round(0.256 * cell.volume * (40 / 13.6056980659) ** 1.5)
    assert tags["CH_NEDOS"] == "40000"
    assert shortest_vector(cell.lattice) >= 9.0
    mesh = np.array([int(word) for word in files["KPOINTS"].splitlines()[3].split()])
    planes = 2 * np.pi / np.array(cell.lattice.reciprocal_lattice.abc) * mesh
    assert planes.min() > 32 * 0.529177
