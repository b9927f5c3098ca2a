"""What is trained end to end: both networks as one, and structures as its examples."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from pymatgen.core.structure import Structure
from torch import nn

from nearedge.models.featurizers.m3gnet_blocks import M3GNetBlocks
from nearedge.models.featurizers.m3gnet_graph import BondGraph
from nearedge.models.heads.network import NetworkHead
from nearedge.models.training.data import Batch, IntArray
from nearedge.spectra.spectrum import FloatArray


@dataclass(frozen=True, eq=False)
class Sites:
    """Where the rows of a training set are.

    Parameters
    ----------
    structures
        Ordered periodic structures; lengths in Å.
    structure, site
        Of each row: the number of its structure, and of its site there, shape ``(n,)`` each.
    """

    structures: Sequence[Structure]
    structure: IntArray
    site: IntArray


class Both(nn.Module):
    """M3GNet, the scaling of its features, and the network on them."""

    def __init__(self, model: M3GNetBlocks, head: NetworkHead) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).requires_grad_(True)
        self.network = copy.deepcopy(head.network)
        scaling = (head.scaling.center, head.scaling.scale)
        center, scale = (torch.from_numpy(array.astype(np.float32)) for array in scaling)
        self.register_buffer("center", center)
        self.register_buffer("scale", scale)

    def forward(self, where: tuple[BondGraph, torch.Tensor]) -> torch.Tensor:
        """Return the spectra of sites of a graph, shape ``(sites, points)``."""
        graph, sites = where
        features = self.model(graph)[sites]
        spectra: torch.Tensor = self.network((features - self.center) / self.scale)
        return spectra

    def features(self, graphs: Sequence[BondGraph], sites: Sites) -> FloatArray:
        """Return the features of all rows, shape ``(n, size)``."""
        with torch.inference_mode():
            found = [self.model(graph).numpy().astype(np.float64) for graph in graphs]
        pairs = zip(sites.structure, sites.site, strict=True)
        features: FloatArray = np.stack([found[structure][site] for structure, site in pairs])
        return features


@dataclass(frozen=True, eq=False)
class Places:
    """Structures with the sites whose spectra are known: an example is a structure."""

    graphs: Sequence[BondGraph]
    sites: Sequence[torch.Tensor]
    targets: Sequence[torch.Tensor]

    @classmethod
    def of(
        cls, graphs: Sequence[BondGraph], sites: Sites, wanted: torch.Tensor, rows: IntArray
    ) -> Self:
        """Return the examples of some rows; `wanted` has the targets of all, scaled."""
        by_structure: dict[int, list[int]] = {}
        for row in rows.tolist():
            by_structure.setdefault(int(sites.structure[row]), []).append(row)
        return cls(
            [graphs[number] for number in by_structure],
            [torch.from_numpy(sites.site[numbers]) for numbers in by_structure.values()],
            [wanted[numbers] for numbers in by_structure.values()],
        )

    def __len__(self) -> int:
        return len(self.graphs)

    def take(self, numbers: torch.Tensor) -> Batch:
        """Return a batch of examples: one graph with its sites, and their targets."""
        chosen = numbers.tolist()
        graph, firsts = _joined([self.graphs[n] for n in chosen])
        pairs = zip(chosen, firsts, strict=True)
        sites = torch.cat([self.sites[number] + first for number, first in pairs])
        return (graph, sites), torch.cat([self.targets[n] for n in chosen])

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yield all that the examples are made of."""
        for graph, sites, targets in zip(self.graphs, self.sites, self.targets, strict=True):
            yield from (graph.kinds, graph.end, graph.vectors, sites, targets)


def _joined(graphs: Sequence[BondGraph]) -> tuple[BondGraph, list[int]]:
    """Return several graphs as one, and the number of each one's first site there."""
    firsts = np.cumsum([0, *(len(graph.kinds) for graph in graphs)])[:-1].tolist()
    numbered = list(zip(graphs, firsts, strict=True))
    return (
        BondGraph(
            kinds=torch.cat([graph.kinds for graph in graphs]),
            start=torch.cat([graph.start + first for graph, first in numbered]),
            end=torch.cat([graph.end + first for graph, first in numbered]),
            vectors=torch.cat([graph.vectors for graph in graphs]),
            member=torch.cat([graph.member + number for number, graph in enumerate(graphs)]),
            structures=len(graphs),
        ),
        firsts,
    )
