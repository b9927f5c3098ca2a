"""Elk's input file ``elk.in``: written, and read again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.core import Structure

from nearedge.errors import IngestError
from nearedge.spectra.spectrum import BOHR, FloatArray

Block = Sequence[Sequence[object]]
_QUOTED = re.compile(r"'([^']*)'")


@dataclass(frozen=True)
class Group:
    """Atoms that share a species file: the file's name and their sites in the crystal."""

    file: str
    sites: tuple[int, ...]


def write_deck(blocks: Mapping[str, Block], structure: Structure, groups: Sequence[Group]) -> str:
    """Return the text of an ``elk.in``.

    Parameters
    ----------
    blocks
        Name to lines of values. Each ends with an empty line, which `istxbse` and `tasks` need.
    structure
        The crystal; its lattice vectors are written in bohr.
    groups
        All its atoms, the absorber's group first.
    """
    lines: list[str] = []
    for name, rows in blocks.items():
        lines += [name, *(f"  {' '.join(map(_written, row))}" for row in rows), ""]
    lines += ["avec", *(_vector(row / BOHR) for row in structure.lattice.matrix), ""]
    lines += ["atoms", f"  {len(groups)}"]
    for group in groups:
        lines += [f"  '{group.file}'", f"  {len(group.sites)}"]
        lines += [_vector(structure.frac_coords[site]) for site in group.sites]
    return "\n".join(lines) + "\n"


def _written(value: object) -> str:
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, float):
        return f"{value:.10g}" if value != int(value) or abs(value) > 1e9 else f"{value:.1f}"
    return str(value)


def _vector(values: FloatArray) -> str:
    return "  " + " ".join(f"{value:.10f}" for value in values)


@dataclass(frozen=True)
class Deck:
    """An ``elk.in`` as read: values by block, as words; lattice in Å; atoms by species file."""

    blocks: dict[str, list[list[str]]]
    lattice: FloatArray
    atoms: list[tuple[str, FloatArray]]

    def number(self, name: str, default: float) -> float:
        """Return the first value of a block.

        Raises
        ------
        IngestError
            If it is not a number.
        """
        return self.numbers(name, [default])[0]

    def numbers(self, name: str, default: Sequence[float]) -> list[float]:
        """Return all values of a block.

        Raises
        ------
        IngestError
            If they are not numbers.
        """
        rows = self.blocks.get(name)
        if rows is None:
            return list(default)
        try:
            found = [float(word.replace("d", "e")) for row in rows for word in row]
        except ValueError:
            raise IngestError(f"elk.in: {name} holds {rows[0]}, not numbers.") from None
        if not found:
            raise IngestError(f"elk.in: {name} is empty.")
        return found


def parse_deck(text: str) -> Deck:
    """Read an ``elk.in``.

    Raises
    ------
    IngestError
        If lattice or atoms are missing or damaged.
    """
    blocks: dict[str, list[list[str]]] = {}
    current: list[list[str]] | None = None
    for raw in text.splitlines():
        line = re.split(r"[!:#]", raw, maxsplit=1)[0].strip()
        if not line:
            # The blocks of the crystal may hold empty lines; a list of numbers ends at one.
            continue
        if re.fullmatch(r"[a-zA-Z]\w*", line) and line.lower() not in ("t", "f"):
            current = blocks.setdefault(line.lower(), [])
        elif current is not None:
            quoted = _QUOTED.findall(line)
            current.append(quoted or line.lower().split())
    try:
        return Deck(blocks, _lattice(blocks), _atoms(blocks["atoms"]))
    except (KeyError, ValueError, IndexError):
        raise IngestError("elk.in has no complete avec or atoms block.") from None


def _lattice(blocks: dict[str, list[list[str]]]) -> FloatArray:
    vectors = np.array([[float(word) for word in row[:3]] for row in blocks["avec"][:3]])
    if vectors.shape != (3, 3):
        raise ValueError("avec")
    overall = float(blocks["scale"][0][0]) if "scale" in blocks else 1.0
    for axis in range(3):
        name = f"scale{axis + 1}"
        vectors[axis] *= float(blocks[name][0][0]) if name in blocks else 1.0
    lattice: FloatArray = vectors * overall * BOHR
    return lattice


def _atoms(rows: list[list[str]]) -> list[tuple[str, FloatArray]]:
    remaining = iter(rows)
    groups = []
    for _ in range(int(next(remaining)[0])):
        file = next(remaining)[0]
        count = int(next(remaining)[0])
        sites = [[float(word) for word in next(remaining)[:3]] for _ in range(count)]
        groups.append((file, np.array(sites, dtype=np.float64)))
    return groups
