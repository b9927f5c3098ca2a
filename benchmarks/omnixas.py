"""The published Cu calculations, splits and validation rows of OmniXAS (arXiv:2409.19552), read.

Shared by the benchmarks; nothing is measured here. OMNIXAS is a folder with
``<El>_<code>_val.npz``, ``splits`` and the archive of the FEFF calculations on Cu.
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.structure import Structure

from nearedge.codes.feff.crystal import read_poscar
from nearedge.codes.feff.parse import parse_xmu
from nearedge.models.featurizers import Featurizer
from nearedge.models.heads import TrainingRows
from nearedge.spectra.grid import omnixas_grid, to_grid
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray

SHARED = Path(__file__).resolve().parents[2] / "shared"
OMNIXAS = SHARED / "data" / "omnixas"
MODELS = SHARED / "models"
ARCHIVE = "cu_feff_calculations.tar.xz"

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class CuSite:
    """A calculated site.

    Parameters
    ----------
    material, number
        The published id, and the site's index in its structure.
    structure
        The material's.
    spectrum
        On the published grid in 1e-3 bohr^2, shape ``(points,)``.
    zero
        The code's zero of energy, in eV from the start of the grid.
    """

    material: str
    number: int
    structure: Structure
    spectrum: FloatArray
    zero: float

    @property
    def label(self) -> str:
        return f"{self.material}_{self.number:03d}"


def cu_split(omnixas: Path, part: str) -> list[str]:
    """Return the labels of the authors' Cu rows of a part, ``train`` or ``val``."""
    return (omnixas / "splits" / f"Cu_FEFF_{part}.txt").read_text().split()


def cu_sites(omnixas: Path, wanted: Collection[str]) -> list[CuSite]:
    """Return the sites of the archive that are wanted, by material and number."""
    grid = omnixas_grid("Cu")
    structures: dict[str, Structure] = {}
    spectra: dict[tuple[str, int], tuple[FloatArray, float]] = {}
    labels = set(wanted)
    needed = set(materials(sorted(labels)))
    for parts, text in _texts(omnixas / ARCHIVE, needed):
        if parts[-1] == "POSCAR":
            structures[parts[-2]] = read_poscar(text)
            continue
        site = parts[-2].split("_")[0]
        if f"{parts[-4]}_{site}" in labels:
            xmu = parse_xmu(text)
            spectrum = xmu.result().spectrum.to_unit(AbsorptionUnit.MILLIBOHR2)
            zero = xmu.edge_energy - xmu.header.fermi_energy - grid.start
            row = to_grid(spectrum, grid, own_points_only=True)
            spectra[parts[-4], int(site)] = (row, zero)
    return [
        CuSite(material, number, structures[material], row, zero)
        for (material, number), (row, zero) in sorted(spectra.items())
    ]


def _texts(archive: Path, needed: set[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield path and content of the structures and spectra of materials."""
    with tarfile.open(archive, "r|xz") as files:
        for member in files:
            parts = PurePosixPath(member.name).parts
            if parts[-1] not in ("POSCAR", "xmu.dat") or not needed.intersection(parts):
                continue
            file = files.extractfile(member)
            assert file is not None
            yield parts, file.read().decode()


def described(sites: Sequence[CuSite], featurizer: Featurizer) -> FloatArray:
    """Return the features of sites, shape ``(n, featurizer.ref.size)``; of a material at a time."""
    rows = []
    known: tuple[str, FloatArray] = ("", np.empty(0))
    for site in sites:
        if known[0] != site.material:
            known = (site.material, featurizer.features(site.structure))
        rows.append(known[1][site.number])
    return np.stack(rows)


def materials(ids: Sequence[str]) -> list[str]:
    """Return the material of each row, by its label."""
    return [name.rsplit("_", 1)[0] for name in ids]


def rows_of(arrays: Arrays) -> TrainingRows:
    """Return rows kept as the authors' are: ids, features X and spectra y."""
    features, spectra = arrays["X"].astype(np.float64), arrays["y"].astype(np.float64)
    return TrainingRows(features, spectra, materials(arrays["ids"].tolist()))


def validation_rows(omnixas: Path, element: str, code: str = "FEFF") -> TrainingRows:
    """Return the authors' validation rows of an element by a code."""
    with np.load(omnixas / f"{element}_{code}_val.npz") as stored:
        return rows_of(dict(stored))
