"""The graph that M3GNet reads: the bonds of one or several structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pymatgen.core.structure import Structure
from torch import Tensor

from nearedge.errors import ModelError
from nearedge.models.featurizers.neighbours import neighbours
from nearedge.spectra.spectrum import FloatArray


@dataclass(frozen=True, eq=False)
class BondGraph:
    """The sites of some structures, one structure after the other, and the bonds between them.

    Parameters
    ----------
    kinds
        Each site's element, as its number in the network's list of elements, shape ``(sites,)``.
    start, end
        Sites that each bond leads from and to, shape ``(bonds,)``; sorted by `start`. Every bond
        is there in both directions.
    vectors
        From start to end in Å, float64, shape ``(bonds, 3)``.
    member
        Number of the structure that each site belongs to, shape ``(sites,)``.
    structures
        How many structures there are.
    """

    kinds: Tensor
    start: Tensor
    end: Tensor
    vectors: Tensor
    member: Tensor
    structures: int

    def to(self, device: torch.device | str) -> BondGraph:
        """Return the graph on another device."""
        return BondGraph(
            self.kinds.to(device),
            self.start.to(device),
            self.end.to(device),
            self.vectors.to(device),
            self.member.to(device),
            self.structures,
        )


def bond_graph(
    structures: Sequence[Structure], elements: Sequence[str], cutoff: float
) -> BondGraph:
    """Join structures in one graph with all bonds up to `cutoff`.

    Parameters
    ----------
    structures
        Ordered periodic structures; lengths in Å.
    elements
        The network's elements, in the order of its embedding.
    cutoff
        In Å.

    Raises
    ------
    ModelError
        If an element is not among `elements`, or no two atoms of a structure are within `cutoff`.
    """
    numbers = {symbol: number for number, symbol in enumerate(elements)}
    kinds: list[int] = []
    starts, ends, vectors = [], [], []
    for structure in structures:
        first = len(kinds)
        kinds += _kinds(structure, numbers)
        start, end, vector = _bonds(structure, cutoff)
        starts.append(start + first)
        ends.append(end + first)
        vectors.append(vector)
    sizes = torch.tensor([len(structure) for structure in structures])
    return BondGraph(
        kinds=torch.tensor(kinds),
        start=torch.from_numpy(np.concatenate(starts)),
        end=torch.from_numpy(np.concatenate(ends)),
        vectors=torch.from_numpy(np.concatenate(vectors)),
        member=torch.repeat_interleave(sizes),
        structures=len(structures),
    )


def _kinds(structure: Structure, numbers: dict[str, int]) -> list[int]:
    symbols = [site.specie.symbol for site in structure]
    unknown = sorted(set(symbols) - numbers.keys())
    if unknown:
        raise ModelError(
            f"M3GNet was not trained with {unknown[0]}, which is in "
            f"{structure.composition.reduced_formula}."
        )
    return [numbers[symbol] for symbol in symbols]


def _bonds(
    structure: Structure, cutoff: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Return the ends of each bond and the vector between them in Å."""
    start, end, vectors = neighbours(structure, cutoff)
    if len(start) == 0:
        raise ModelError(
            f"No two atoms of {structure.composition.formula} are within {cutoff:g} Å, so M3GNet "
            "sees no surroundings."
        )
    return start, end, vectors
