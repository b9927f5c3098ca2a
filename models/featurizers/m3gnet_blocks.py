"""Feature blocks of M3GNet: what is taken of its layers for each site."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure
from torch import Tensor, nn

from nearedge.models.featurizers.m3gnet_graph import BondGraph, bond_graph
from nearedge.models.featurizers.m3gnet_network import BLOCKS, CUTOFF, WIDTH, Layers, M3GNetNetwork

BLOCK_NAMES = (*(str(number + 1) for number in range(BLOCKS)), "edges", "cell", "neighbours")
"""A site's node after block 1, 2 or 3; the mean of its bonds after the last block, weighted by
their smooth cutoff; the mean of the nodes of its structure; the mean of its neighbours' nodes,
weighted by the cutoff."""
ELEMENTS = tuple(
    element.symbol
    for element in sorted(Element, key=lambda element: element.Z)
    if element.Z < 95 and element.symbol not in ("D", "T", "Po", "At", "Rn", "Fr", "Ra")
)
"""The elements that M3GNet-MP-2021.2.8 knows, in the order of its embedding."""
_FADING = 0.01
"""Weight against which those of a site's bonds count: a last neighbour leaves without a step."""


class M3GNetBlocks(nn.Module):
    """M3GNet as a differentiable map from structures to the features of their sites.

    Its parameters are random until a state is loaded; `nearedge.models.featurizers.m3gnet` has
    `load_blocks`, which loads the published one and checks it.

    Parameters
    ----------
    blocks
        Names from `BLOCK_NAMES`: what the features are made of, in this order.
    """

    def __init__(self, blocks: Sequence[str] = BLOCK_NAMES[2:3]) -> None:
        super().__init__()
        self.network = M3GNetNetwork(len(ELEMENTS))
        self.blocks = tuple(blocks)

    @property
    def size(self) -> int:
        """Features per site."""
        return WIDTH * len(self.blocks)

    @staticmethod
    def graph(structures: Sequence[Structure]) -> BondGraph:
        """Join structures in one graph; see `bond_graph`."""
        return bond_graph(structures, ELEMENTS, CUTOFF)

    def forward(self, graph: BondGraph) -> Tensor:
        """Return the features of all sites, one structure after the other, ``(sites, size)``."""
        layers: Layers = self.network(graph)
        return torch.cat([_block(name, layers, graph) for name in self.blocks], dim=1)


def _block(name: str, layers: Layers, graph: BondGraph) -> Tensor:
    last = layers.nodes[-1]
    if name == "edges":
        return _mean_of_bonds(layers.bonds, layers.cutoff, graph)
    if name == "neighbours":
        return _mean_of_bonds(last[graph.end], layers.cutoff, graph)
    if name == "cell":
        sums = last.new_zeros(graph.structures, WIDTH).index_add(0, graph.member, last)
        counts = torch.bincount(graph.member, minlength=graph.structures)
        return (sums / counts[:, None])[graph.member]
    return layers.nodes[int(name) - 1]


def _mean_of_bonds(values: Tensor, cutoff: Tensor, graph: BondGraph) -> Tensor:
    sites = len(graph.kinds)
    weights = cutoff.new_zeros(sites).index_add(0, graph.start, cutoff)
    sums = values.new_zeros(sites, WIDTH).index_add(0, graph.start, values * cutoff[:, None])
    return sums / (weights + _FADING)[:, None]
