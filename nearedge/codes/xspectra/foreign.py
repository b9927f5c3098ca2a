"""Runs of other people: outputs of pw.x and xspectra.x in a folder, under any names.

The outputs say all that is needed, inputs are not. A spectrum belongs to the output of xspectra.x
beside it; where there are several, names tell (``xanes_z.dat`` and ``xs_z.out``). The weights of
the polarisations follow from the symmetry of the cell with its core hole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Element, Lattice, Structure
from scipy.optimize import nnls
from xraydb import xray_edge

from nearedge.codes.base import CodeResult
from nearedge.codes.xspectra.average import Polarised, assembled
from nearedge.codes.xspectra.cell import site_rotations
from nearedge.codes.xspectra.parse import (
    Lanczos,
    parse_energy_zero,
    parse_lanczos,
    parse_scf,
    parse_xanes,
    plotted_to,
)
from nearedge.codes.xspectra.polarisation import isotropic
from nearedge.errors import CodeError, IngestError
from nearedge.spectra.spectrum import BOHR, FloatArray

_NUMBER = r"(-?\d+\.\d+)"
_VECTOR = r"\(\s*" + r"\s+".join([_NUMBER] * 3) + r"\s*\)"
_ALAT = re.compile(r"celldm\(1\)=\s*" + _NUMBER)
_AXIS = re.compile(r"^\s*a\(\d\) = " + _VECTOR, re.MULTILINE)
_SPECIES = re.compile(
    r"^\s*(\S+)\s+\d+\.\d+\s+\d+\.\d+\s+([A-Z][a-z]?)\s*\(\s*1\.00\)", re.MULTILINE
)
_SITE = re.compile(r"^\s*\d+\s+(\S+)\s+tau\(\s*\d+\) = " + _VECTOR, re.MULTILINE)
_DIRECTION = re.compile(r"xepsilon\s+\[([A-Za-z ]+)\]:\s*" + r"\s+".join([_NUMBER] * 3))
_ABSORBER = re.compile(r"Absorbing atom type \(xiabs\):\s*(\d+)")
_CORE_LEVEL = re.compile(r"Core level energy \[eV\]:\s*(-?[\d.]+)")
_SPECTRUM = re.compile(r"#\s*final state angular momentum", re.IGNORECASE)
_MAX_BYTES = 64 * 1024**2
_DEPTH = 2


@dataclass(frozen=True)
class ForeignSite:
    """The cell that ran, the site with the core hole, and the kinds of atoms as pw.x names them."""

    cell: Structure
    absorbing_index: int


@dataclass(frozen=True)
class _Found:
    """Texts of a folder by what they are; names are relative to it."""

    scf: dict[str, str]
    xspectra: dict[str, str]
    spectra: dict[str, str]


def read_foreign(folder: Path) -> CodeResult:
    """Read a folder that NearEdge has not written.

    Raises
    ------
    CodeError
        ``output_missing``, ``missing_polarisation``, ``output_foreign`` where it is not clear what
        belongs together, or what the parts have; see `nearedge.codes.xspectra.parse`.
    """
    found = _sorted_texts(folder)
    name, log = _scf(found)
    scf = parse_scf(log, name)
    site = foreign_site(folder)
    directions, parts = [], []
    for spectrum, text in found.spectra.items():
        output = found.xspectra[_partner(spectrum, found)]
        directions.append(_direction(output, site.cell.lattice, spectrum))
        lanczos, zero = _lanczos(output, spectrum), parse_energy_zero(output, spectrum)
        parts.append((zero, parse_xanes(text, spectrum, plotted_to(output)), lanczos))
    weights = isotropic_weights(np.array(directions), site_rotations(_first(site)))
    return assembled(
        scf,
        log,
        [Polarised(float(w), *part) for w, part in zip(weights, parts, strict=True) if w > 0],
    )


def foreign_site(folder: Path) -> ForeignSite:
    """Return the cell and the absorbing site of a run, from what pw.x and xspectra.x print.

    Raises
    ------
    CodeError
        ``output_missing``.
    IngestError
        If the outputs do not tell, or are of an edge other than K.
    """
    found = _sorted_texts(folder)
    name, log = _scf(found)
    cell, labels, kinds = _cell(log, name)
    said = (_ABSORBER.search(text) for text in found.spectra.values())
    numbers = {match.group(1) for match in said if match is not None}
    if len(numbers) != 1 or not 1 <= int(next(iter(numbers))) <= len(kinds):
        raise IngestError("the spectra do not agree on the kind of the absorbing atom")
    kind = kinds[int(next(iter(numbers))) - 1]
    sites = [index for index, label in enumerate(labels) if label == kind]
    if len(sites) != 1:
        raise IngestError(f"{len(sites)} atoms are of the absorbing kind {kind}, not one")
    _check_k_edge(found, cell[sites[0]].specie.symbol)
    return ForeignSite(cell, sites[0])


def foreign_logs(folder: Path) -> tuple[str, list[str]]:
    """Return what pw.x printed, and what xspectra.x printed in each of its runs.

    Raises
    ------
    CodeError
        ``output_missing``.
    """
    found = _sorted_texts(folder)
    return _scf(found)[1], list(found.xspectra.values())


def isotropic_weights(directions: FloatArray, rotations: FloatArray) -> FloatArray:
    """Return weights that make a third of the trace of these polarisations, shape ``(n,)``.

    Raises
    ------
    CodeError
        ``missing_polarisation`` if none do for a tensor with the symmetry of `rotations`.
    """
    moments = np.einsum("ij,ik->ijk", directions, directions)
    averaged = np.mean(
        rotations[:, None] @ moments[None] @ np.swapaxes(rotations, 1, 2)[:, None], axis=0
    )
    weights, _ = nnls(averaged.reshape(len(directions), 9).T, (np.eye(3) / 3).ravel())
    chosen: FloatArray = np.where(weights < 1e-8, 0.0, weights)
    if not isotropic(directions, chosen, rotations):
        raise CodeError(
            "missing_polarisation",
            f"{len(directions)} polarisation{'s' * (len(directions) != 1)} do not give the "
            "isotropic spectrum at this site's symmetry: more are needed.",
        )
    return chosen


def _sorted_texts(folder: Path) -> _Found:
    found = _Found({}, {}, {})
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if len(relative.parts) > _DEPTH or not path.is_file() or path.stat().st_size > _MAX_BYTES:
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        name = relative.as_posix()
        if "Program PWSCF" in text[:2000]:
            found.scf[name] = text
        elif "Program XSpectra" in text[:2000]:
            found.xspectra[name] = text
        elif _SPECTRUM.match(text):
            found.spectra[name] = text
    return found


def _scf(found: _Found) -> tuple[str, str]:
    if not found.spectra:
        raise CodeError("output_missing", "There is no spectrum of xspectra.x.")
    if not found.xspectra:
        raise CodeError("output_missing", "There is no output of xspectra.x.")
    with_hole = {name: text for name, text in found.scf.items() if not _is_ground_state(name)}
    if len(with_hole) != 1:
        raise CodeError(
            "output_missing", f"There must be one output of pw.x, not {len(with_hole)}."
        )
    return next(iter(with_hole.items()))


def _is_ground_state(name: str) -> bool:
    """Whether this is Lightshow's ground state, from which the edge's position is taken."""
    return Path(name).stem.lower() == "gs"


def _partner(spectrum: str, found: _Found) -> str:
    """Return the output of xspectra.x that a spectrum belongs to, by folder and name."""
    folder = Path(spectrum).parent
    outputs = list(found.xspectra)
    alone = sum(Path(each).parent == folder for each in found.spectra) == 1
    near = [each for each in outputs if Path(each).parent == folder]
    if len(near) > 1 or not alone:
        near = [each for each in near if _token(each) == _token(spectrum)]
    if len(near) != 1:
        raise CodeError(
            "output_foreign",
            f"It is not clear which output of xspectra.x belongs to {spectrum}: name both alike, "
            "such as xanes_z.dat and xs_z.out.",
        )
    return near[0]


def _token(name: str) -> str:
    return re.split(r"[_.-]", Path(name).stem)[-1]


def _direction(output: str, lattice: Lattice, name: str) -> FloatArray:
    found = _DIRECTION.search(output)
    if found is None:
        raise CodeError("output_foreign", f"The output of {name} states no polarisation.")
    vector = np.array([float(each) for each in found.groups()[1:]])
    if "cryst" in found.group(1).lower():
        vector = lattice.get_cartesian_coords(vector)
    unit: FloatArray = vector / np.linalg.norm(vector)
    return unit


def _lanczos(output: str, name: str) -> Lanczos | None:
    """Return what is said of the recursion; None where only the spectrum was made anew."""
    return None if "xonly_plot: TRUE" in output else parse_lanczos(output, name)


def _cell(log: str, name: str) -> tuple[Structure, list[str], list[str]]:
    """Return the cell, each site's label, and the labels of the kinds of atoms in their order."""
    alat, axes = _ALAT.search(log), _AXIS.findall(log)[:3]
    kinds = dict(_SPECIES.findall(log))
    sites = _SITE.findall(log)
    if alat is None or len(axes) != 3 or not kinds or not sites:
        raise IngestError(f"{name} does not show the cell")
    scale = float(alat.group(1)) * BOHR
    lattice = Lattice(scale * np.array(axes, dtype=np.float64))
    if strange := [label for label, *_ in sites if label not in kinds]:
        raise IngestError(f"{name} has an atom {strange[0]} of no kind")
    symbols = [kinds[label] for label, *_ in sites]
    if strange := [each for each in symbols if not Element.is_valid_symbol(each)]:
        raise IngestError(f"{name} has a potential of {strange[0]}, which is no element")
    positions = scale * np.array([row[1:] for row in sites], dtype=np.float64)
    cell = Structure(lattice, symbols, positions, coords_are_cartesian=True)
    return cell, [label for label, *_ in sites], list(kinds)


def _check_k_edge(found: _Found, absorber: str) -> None:
    edge = xray_edge(absorber, "K")
    for text in found.xspectra.values():
        level = _CORE_LEVEL.search(text)
        if level and edge and abs(-float(level.group(1)) / float(edge.energy) - 1) > 0.05:
            raise IngestError(
                f"the core level at {level.group(1)} eV is not the 1s of {absorber}: only K "
                "edges are understood"
            )


def _first(site: ForeignSite) -> Structure:
    """Return the cell with the absorber first, as the rest of this room has it."""
    order = [site.absorbing_index] + [
        index for index in range(len(site.cell)) if index != site.absorbing_index
    ]
    return Structure.from_sites([site.cell[index] for index in order])
