"""Feature blocks of M3GNet: what is taken of its layers for each site."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure
from torch import Tensor, nn

from nearedge.errors import ModelError
from nearedge.models.featurizers.m3gnet_graph import BondGraph, bond_graph
from nearedge.models.featurizers.m3gnet_network import CUTOFF, WIDTH, Layers, M3GNetNetwork
from nearedge.spectra.spectrum import FloatArray

_POOLED = {
    "1": ("site", 1),
    "2": ("site", 2),
    "3": ("site", 3),
    "edges": ("bonds", 3),
    "cell": ("structure", 3),
    "neighbours": ("neighbours", 3),
    "cell1": ("structure", 1),
    "cell2": ("structure", 2),
    "neighbours1": ("neighbours", 1),
    "elements": ("structure", 0),
    "elements_near": ("neighbours", 0),
}
"""How each block is made of a layer: the site's own node; the mean of the bonds that start at the
site, weighted by their smooth cutoff; the mean of the nodes of its structure; the mean of its
neighbours' nodes, weighted by the cutoff. Layer 0 knows nothing but the element."""
BLOCK_NAMES = tuple(_POOLED)
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

    def features(self, structure: Structure) -> FloatArray:
        """Return the features of all sites, shape ``(n_sites, size)``, in the sites' order.

        Raises
        ------
        ModelError
            If a number is not finite.
        """
        with torch.inference_mode():
            found = self(self.graph([structure]))
        features: FloatArray = found.numpy().astype(np.float64)
        if not np.all(np.isfinite(features)):
            raise ModelError(
                f"M3GNet gives numbers that are not finite for {structure.composition.formula}: "
                "look at its coordinates."
            )
        return features


def _block(name: str, layers: Layers, graph: BondGraph) -> Tensor:
    way, layer = _POOLED[name]
    nodes = layers.nodes[layer]
    if way == "bonds":
        return _mean_of_bonds(layers.bonds, layers.cutoff, graph)
    if way == "neighbours":
        return _mean_of_bonds(nodes.index_select(0, graph.end), layers.cutoff, graph)
    if way == "structure":
        sums = nodes.new_zeros(graph.structures, WIDTH).index_add(0, graph.member, nodes)
        counts = torch.bincount(graph.member, minlength=graph.structures)
        return (sums / counts[:, None]).index_select(0, graph.member)
    return nodes


def _mean_of_bonds(values: Tensor, cutoff: Tensor, graph: BondGraph) -> Tensor:
    sites = len(graph.kinds)
    weights = cutoff.new_zeros(sites).index_add(0, graph.start, cutoff)
    sums = values.new_zeros(sites, WIDTH).index_add(0, graph.start, values * cutoff[:, None])
    return sums / (weights + _FADING)[:, None]
