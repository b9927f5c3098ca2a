"""Finished XSpectra calculations, of any origin: folders with what xspectra.x and pw.x wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from nearedge.codes.finished.runs import CUSTOM, Described, iter_run_folders
from nearedge.codes.xspectra.foreign import foreign_logs, foreign_site
from nearedge.codes.xspectra.result import read_run
from nearedge.schemas.calculation import Parameter, ParameterValue
from nearedge.structures.supercell import shortest_vector

MARKERS = ("xanes*.dat", "*xspectra*.dat", "polarisations.json", "es.in")
WANTED = ("*.in", "*.out", "*.dat", "*.sav", "*.json", "*.upf", "*.UPF", "*.wfc", "weight.txt")

# Our name, unit, and where the output of pw.x says it.
_SCF_FACTS = (
    ("cutoff", "Ry", re.compile(r"kinetic-energy cutoff\s*=\s*([\d.]+)\s*Ry")),
    ("smearing", "Ry", re.compile(r"smearing, width \(Ry\)=\s*([\d.]+)")),
    ("electrons", None, re.compile(r"number of electrons\s*=\s*([\d.]+)")),
    ("scf_k_points", None, re.compile(r"number of k points=\s*(\d+)")),
)
_SPECTRUM_FACTS = (
    ("spectrum_k_points", None, re.compile(r"number of k points=\s*(\d+)")),
    ("e_min", "eV", re.compile(r"xemin \[eV\]:\s*(-?[\d.]+)")),
    ("e_max", "eV", re.compile(r"xemax \[eV\]:\s*(-?[\d.]+)")),
    ("half_width", "eV", re.compile(r"using xgamma \[eV\]:\s*([\d.]+)")),
)
_MD5 = re.compile(r"MD5 check sum: ([0-9a-f]{32})")
_INPUT = re.compile(r"&(?:system|input_xspectra)\b", re.IGNORECASE)


def describe(folder: Path) -> Described:
    """Say what a stranger's run is of.

    Raises
    ------
    CodeError, IngestError
        If its files do not tell.
    """
    site = foreign_site(folder)
    scf, spectra = foreign_logs(folder)
    image_distance = round(shortest_vector(site.cell.lattice), 4)
    parameters = {
        **_facts(_SCF_FACTS, scf),
        **_facts(_SPECTRUM_FACTS, spectra[0]),
        "image_distance": Parameter(value=image_distance, unit="angstrom"),
    }
    if sums := _MD5.findall(scf):
        parameters["pseudopotentials"] = Parameter(value=" ".join(sorted(set(sums))))
    inputs = {path.relative_to(folder).as_posix(): text for path, text in _inputs(folder)}
    return Described(site.cell, site.absorbing_index, "K", parameters, CUSTOM, inputs)


def _facts(
    facts: tuple[tuple[str, str | None, re.Pattern[str]], ...], log: str
) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for name, unit, pattern in facts:
        if match := pattern.search(log):
            value: ParameterValue = float(match.group(1)) if unit else int(float(match.group(1)))
            found[name] = Parameter(value=value, unit=unit)
    return found


def _inputs(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*.in")):
        text = path.read_bytes().decode("utf-8", "replace")
        if _INPUT.search(text):
            yield path, text


iter_finished = partial(
    iter_run_folders,
    code="xspectra",
    read=read_run,
    describe=describe,
    markers=MARKERS,
    wanted=WANTED,
)
"""`Code.finished` of this code."""
