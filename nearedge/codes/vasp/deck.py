"""Read INCAR, KPOINTS and POSCAR, and the list of potentials that stands for POTCAR.

POTCAR is licensed: NearEdge stores the names of its potentials (``POTCAR.spec``), never its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from pymatgen.core import Structure
from pymatgen.io.vasp import Poscar

from nearedge.errors import IngestError
from nearedge.schemas.calculation import Parameter, ParameterValue

INCAR, KPOINTS, POSCAR, SPEC = "INCAR", "KPOINTS", "POSCAR", "POTCAR.spec"
_TAG = re.compile(r"([A-Za-z_]\w*)\s*=\s*([^;\n]*)")
_COMMENT = re.compile(r"[#!].*")

Tags = dict[str, str]
"""Value by tag of INCAR, capitals, white space normalised."""


def parse_incar(text: str) -> Tags:
    """Read the tags of an INCAR.

    Raises
    ------
    IngestError
        If it has none.
    """
    joined = re.sub(r"\\\s*\n", " ", text)
    plain = "\n".join(_COMMENT.sub("", line) for line in joined.splitlines())
    tags = {name.upper(): " ".join(value.split()) for name, value in _TAG.findall(plain)}
    if not tags:
        raise IngestError(f"{INCAR} has no tag of the form `NAME = value`.")
    return tags


def integer(tags: Mapping[str, str], name: str, default: int) -> int:
    """Return an integer tag.

    Raises
    ------
    IngestError
        If it is none.
    """
    try:
        return int(tags.get(name, default))
    except ValueError:
        raise IngestError(f"{INCAR}: {name} = {tags[name]!r} is no integer.") from None


def number(tags: Mapping[str, str], name: str) -> float | None:
    """Return a numeric tag, or None where it is not given.

    Raises
    ------
    IngestError
        If it is no number.
    """
    if name not in tags:
        return None
    try:
        value = float(tags[name].split()[0].lower().replace("d", "e"))
    except (ValueError, IndexError):
        raise IngestError(f"{INCAR}: {name} = {tags[name]!r} is no number.") from None
    if not np.isfinite(value):
        raise IngestError(f"{INCAR}: {name} is not finite.")
    return value


def logical(tags: Mapping[str, str], name: str) -> bool:
    """Return a logical tag, False where it is not given."""
    return tags.get(name, "F").strip(".").upper().startswith("T")


def read_structure(text: str) -> Structure:
    """Return the crystal of a POSCAR, sites in its order.

    Raises
    ------
    IngestError
        If it is no POSCAR.
    """
    try:
        structure: Structure = Poscar.from_str(text).structure
    except Exception as error:  # pymatgen raises whatever its parser trips over
        raise IngestError(f"{POSCAR} cannot be read: {error or type(error).__name__}.") from None
    return structure


def absorbing_site(tags: Tags, ions_per_type: Sequence[int]) -> int:
    """Return the index of the site with the core hole: the only one of its type (CLNT).

    Raises
    ------
    IngestError
        If the type has more than one site, or does not exist.
    """
    kind = integer(tags, "CLNT", 1)
    if not 1 <= kind <= len(ions_per_type):
        raise IngestError(f"{INCAR}: CLNT = {kind}; {POSCAR} has {len(ions_per_type)} types.")
    if ions_per_type[kind - 1] != 1:
        raise IngestError(
            f"{INCAR}: CLNT = {kind} is a type of {ions_per_type[kind - 1]} atoms: the spectrum is "
            "of all of them, not of one absorber."
        )
    return sum(ions_per_type[: kind - 1])


def edge_of(n: int, l: int) -> str:  # noqa: E741
    """Return the edge of a core level; VASP's have no spin-orbit splitting.

    Raises
    ------
    IngestError
        If NearEdge has no name for it.
    """
    names = {(1, 0): "K", (2, 0): "L1", (2, 1): "L23"}
    if (n, l) not in names:
        raise IngestError(f"CLN = {n}, CLL = {l} is no K or L edge.")
    return names[n, l]


def stated_parameters(
    tags: Tags, kpoints: str | None, potentials: Sequence[str], functional: str
) -> dict[str, Parameter]:
    """Return the physical parameters that an input states, by its own mesh and number of bands.

    Parameters
    ----------
    kpoints
        Text of KPOINTS, or None where INCAR gives the spacing.
    potentials
        Their names by type, such as ``Ti_sv_GW``.
    functional
        ``PBE`` or ``LDA``, as the potentials were made.
    """
    parameters: dict[str, Parameter] = {}

    def add(name: str, value: ParameterValue | None, unit: str | None = None) -> None:
        if value is not None:
            parameters[name] = Parameter(value=value, unit=unit)

    for tag, name, unit in _NUMBERS:
        add(name, number(tags, tag), unit)
    for tag, name in _WORDS:
        add(name, tags[tag].upper() if tag in tags else None)
    add("precision", tags.get("PREC", "Normal").upper()[:1])
    add("spin", integer(tags, "ISPIN", 1) == 2)
    add("core_level_method", integer(tags, "ICORELEVEL", 0))
    add("potentials", list(potentials))
    add("functional", functional)
    if logical(tags, "LDAU"):
        add("hubbard_u", tags.get("LDAUU", ""), "eV")
    add("k_mesh", _mesh(kpoints) if kpoints is not None else None)
    return parameters


def _mesh(text: str) -> list[bool | int | float | str]:
    """Return style and numbers of an automatic mesh, or the text of another one."""
    lines = [line.split("!")[0].strip() for line in text.splitlines()]
    try:
        if int(lines[1].split()[0]) == 0 and lines[2][:1].upper() in {"G", "M"}:
            mesh = [int(word) for word in lines[3].split()[:3]]
            shift = [float(word) for word in lines[4].split()[:3]] if len(lines) > 4 else []
            return [lines[2][0].upper(), *mesh, *(shift if any(shift) else [])]
    except (ValueError, IndexError):
        pass
    return [" ".join(line.split()) for line in lines[1:] if line]


_NUMBERS = (
    ("ENCUT", "energy_cutoff", "eV"),
    ("NBANDS", "bands", None),
    ("CLZ", "core_hole", None),
    ("ISMEAR", "smearing_method", None),
    ("SIGMA", "smearing", "eV"),
    ("CH_SIGMA", "broadening", "eV"),
    ("CH_NEDOS", "energy_points", None),
    ("KSPACING", "k_spacing", "1/angstrom"),
    ("NUPDOWN", "unpaired_electrons", None),
)
_WORDS = (("GGA", "gga"), ("METAGGA", "meta_gga"), ("LHFCALC", "hybrid"), ("MAGMOM", "moments"))
