"""M3GNet's forward pass in plain torch, at a cost that grows with the bonds, not the triplets.

Equations (1) to (5) of doi:10.1038/s43588-022-00349-3, as the weights of M3GNet-MP-2021.2.8 were
trained: messages are summed at the atom where the bond ends. Parameters bear the names that they
have in the published file, so that loading it strictly checks the architecture.

The three-body term of a bond i→j is a sum over the other neighbours k of i of
``radial(r_ik) P_l(cos θ_jik) gate(k)``. By the addition theorem ``P_l(a·b)`` is the product of
harmonics of a and of b, so that one sum over k for each atom (its moments: a scalar, a vector and a
traceless tensor for each radial function) serves all its bonds; the bond's own part, where the
angle is zero and ``P_l`` is one, is taken away again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nearedge.models.featurizers.m3gnet_graph import BondGraph

WIDTH = 64
BLOCKS = 3
CUTOFF = 5.0
"""Å, of bonds and of the three-body term."""

# Three zeros of each of the spherical Bessel functions j_0, j_1 and j_2 (DLMF, section 10.58).
_ZEROS = (
    (math.pi, 2 * math.pi, 3 * math.pi),
    (4.493409457909064, 7.725251836937707, 10.904121659428899),
    (5.763459196894550, 9.095011330476355, 12.322940970566582),
)
_BASIS = 9
"""Three radial functions for each angular momentum 0, 1 and 2, in this order."""
_HARMONIC_OF = torch.tensor([0, 0, 0, *[1, 2, 3] * 3, *[4, 5, 6, 7, 8] * 3])
"""Which harmonic each of an atom's 27 moments has ..."""
_BASIS_OF = torch.tensor([0, 1, 2, *[3] * 3, *[4] * 3, *[5] * 3, *[6] * 5, *[7] * 5, *[8] * 5])
"""... and which radial function."""
_CHUNK = 2048
"""Bonds that pass through a network at once: its hidden layers stay in a core's cache."""


class _Layers(nn.Module):
    """Layers under the name that the published file gives them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, values: Tensor) -> Tensor:
        """Return the last layer's output."""
        output: Tensor = self.layers(values)
        return output


class _Gated(nn.Module):
    """A network and a second one of the same shape, for its gate."""

    def __init__(self, *widths: int, bias: bool = True, activate_last: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        self.gates = nn.Sequential()
        for before, after in pairwise(widths[:-1]):
            for chain in (self.layers, self.gates):
                chain.append(nn.Linear(before, after, bias=bias))
                chain.append(nn.SiLU())
        self.layers.append(nn.Linear(widths[-2], widths[-1], bias=bias))
        if activate_last:
            self.layers.append(nn.SiLU())
        self.gates.append(nn.Linear(widths[-2], widths[-1], bias=bias))
        self.gates.append(nn.Sigmoid())


class GatedNetwork(_Gated):
    """A network whose output is multiplied by its gate."""

    def forward(self, values: Tensor) -> Tensor:
        """Return the gated output, shape ``(rows, last width)``."""
        output: Tensor = self.layers(values) * self.gates(values)
        return output


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """A first layer split in what atoms give as starts and as ends, and the weights of bonds."""

    start: Tensor
    end: Tensor
    bond: Tensor


class BondNetwork(_Gated):
    """A gated network of the atoms that a bond joins and of the bond."""

    def __init__(self) -> None:
        super().__init__(3 * WIDTH, WIDTH, WIDTH, WIDTH)

    def first(self, nodes: Tensor) -> FirstLayer:
        """Return the atoms' part of the first layers; value and gate are side by side.

        It is computed once for each atom, as start and as end, not for each bond.
        """
        value, gate = cast("nn.Linear", self.layers[0]), cast("nn.Linear", self.gates[0])
        start, end, bond = torch.split(torch.cat([value.weight, gate.weight]), WIDTH, dim=1)
        bias = torch.cat([value.bias, gate.bias])
        return FirstLayer(
            functional.linear(nodes, start, bias), functional.linear(nodes, end), bond.T
        )

    def forward(self, first: FirstLayer, start: Tensor, end: Tensor, bonds: Tensor) -> Tensor:
        """Return the output for bonds between the atoms `start` and `end`."""
        atoms = first.start.index_select(0, start) + first.end.index_select(0, end)
        hidden = functional.silu(torch.addmm(atoms, bonds, first.bond))
        value, gate = torch.split(hidden, WIDTH, dim=1)
        output: Tensor = self.layers[2:](value) * self.gates[2:](gate)
        return output


class Convolution(nn.Module):
    """Equations (4) and (5): bonds learn from their atoms, then atoms from their bonds."""

    def __init__(self) -> None:
        super().__init__()
        self.edge_update_func = BondNetwork()
        self.edge_weight_func = nn.Linear(_BASIS, WIDTH, bias=False)
        self.node_update_func = BondNetwork()
        self.node_weight_func = nn.Linear(_BASIS, WIDTH, bias=False)

    def forward(
        self, graph: BondGraph, nodes: Tensor, bonds: Tensor, radial: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the new nodes and bonds."""
        edge_first = self.edge_update_func.first(nodes)
        node_first = self.node_update_func.first(nodes)
        new_bonds = []
        for first in range(0, len(bonds), _CHUNK):
            some = slice(first, first + _CHUNK)
            start, end = graph.start[some], graph.end[some]
            update = self.edge_update_func(edge_first, start, end, bonds[some])
            bond = bonds[some] + update * self.edge_weight_func(radial[some])
            message = self.node_update_func(node_first, start, end, bond)
            # At the end of the bond: see `nearedge.compat.sum_messages_at_destination`.
            nodes = nodes.index_add(0, end, message * self.node_weight_func(radial[some]))
            new_bonds.append(bond)
        return nodes, torch.cat(new_bonds)


class Block(nn.Module):
    """A convolution under the name that the published file gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Convolution()

    def forward(
        self, graph: BondGraph, nodes: Tensor, bonds: Tensor, radial: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the new nodes and bonds."""
        updated: tuple[Tensor, Tensor] = self.conv(graph, nodes, bonds, radial)
        return updated


class ThreeBody(nn.Module):
    """Equations (2) and (3): bonds learn from the other bonds of the atom they start from."""

    def __init__(self) -> None:
        super().__init__()
        self.update_network_atom = _Layers(nn.Linear(WIDTH, _BASIS), nn.Sigmoid())
        self.update_network_bond = GatedNetwork(_BASIS, WIDTH, bias=False)

    def forward(self, graph: BondGraph, nodes: Tensor, bonds: Tensor, shape: _Shape) -> Tensor:
        """Return the new bonds."""
        gate = self.update_network_atom(nodes)
        own = shape.weighted * gate.index_select(0, graph.end)
        parts = (own @ shape.collect.T) * shape.harmonics
        moments = parts.new_zeros(len(nodes), parts.shape[1]).index_add(0, graph.start, parts)
        products = moments.index_select(0, graph.start) * shape.harmonics
        seen = products @ shape.collect - own
        update: Tensor = self.update_network_bond(seen * shape.cutoff[:, None])
        return bonds + update


@dataclass(frozen=True, eq=False)
class _Shape:
    """What the geometry alone determines.

    Parameters
    ----------
    radial
        Radial functions of each bond, shape ``(bonds, 9)``.
    weighted
        The same times the cutoff and the norm of the angular part.
    harmonics
        Harmonics of each bond's direction, repeated for radial functions, shape ``(bonds, 27)``.
    cutoff
        Smooth cutoff of each bond, shape ``(bonds,)``.
    collect
        Sums products of 27 moments into 9 radial functions.
    """

    radial: Tensor
    weighted: Tensor
    harmonics: Tensor
    cutoff: Tensor
    collect: Tensor


@dataclass(frozen=True, eq=False)
class Layers:
    """Nodes before and after each block, bonds after the last, and the bonds' smooth cutoff."""

    nodes: tuple[Tensor, ...]
    bonds: Tensor
    cutoff: Tensor


class M3GNetNetwork(nn.Module):
    """The network without its energy scale.

    Parameters
    ----------
    elements
        How many elements it knows.
    """

    def __init__(self, elements: int) -> None:
        super().__init__()
        self.embedding = nn.ModuleDict(
            {
                "layer_node_embedding": nn.Embedding(elements, WIDTH),
                "layer_edge_embedding": _Layers(nn.Linear(_BASIS, WIDTH), nn.SiLU()),
            }
        )
        self.three_body_interactions = nn.ModuleList(ThreeBody() for _ in range(BLOCKS))
        self.graph_layers = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.final_layer = nn.ModuleDict(
            {"gated": GatedNetwork(WIDTH, WIDTH, WIDTH, WIDTH, 1, activate_last=False)}
        )

    def forward(self, graph: BondGraph) -> Layers:
        """Compute the layers; gradients reach the parameters."""
        shape = _shape(graph.vectors, next(self.parameters()).dtype)
        nodes = self.embedding["layer_node_embedding"](graph.kinds)
        bonds = self.embedding["layer_edge_embedding"](shape.radial)
        seen = [nodes]
        for three_body, block in zip(self.three_body_interactions, self.graph_layers, strict=True):
            bonds = three_body(graph, nodes, bonds, shape)
            nodes, bonds = block(graph, nodes, bonds, shape.radial)
            seen.append(nodes)
        return Layers(tuple(seen), bonds, shape.cutoff)

    def site_energies(self, layers: Layers) -> Tensor:
        """Return each site's share of the energy in the network's own unit, shape ``(sites,)``."""
        energies: Tensor = self.final_layer["gated"](layers.nodes[-1])
        return energies[:, 0]


def _shape(vectors: Tensor, dtype: torch.dtype) -> _Shape:
    """Evaluate the basis in the precision of the positions, and return it in the network's."""
    distance = torch.linalg.vector_norm(vectors, dim=1)
    radial = _radial(distance)
    # Equation (2) of doi:10.1038/s43588-022-00349-3; the polynomial is that of arXiv:2003.03123.
    x = (distance / CUTOFF).clamp(max=1.0)
    cutoff = 1 - x**3 * (10 - x * (15 - 6 * x))
    norm = torch.tensor(
        [math.sqrt((2 * momentum + 1) / (4 * math.pi)) for momentum in range(3) for _ in range(3)],
        dtype=radial.dtype,
        device=radial.device,
    )
    harmonics = _harmonics((vectors / distance[:, None]).to(dtype))
    collect = functional.one_hot(_BASIS_OF, _BASIS)
    return _Shape(
        radial=radial.to(dtype),
        weighted=(radial * norm * cutoff[:, None]).to(dtype),
        harmonics=harmonics[:, _HARMONIC_OF],
        cutoff=cutoff.to(dtype),
        collect=collect.to(harmonics),
    )


def _radial(distance: Tensor) -> Tensor:
    """Return the normalised spherical Bessel functions that vanish at the cutoff."""
    x = (distance / CUTOFF).clamp(max=1.0)[:, None]
    zeros = torch.tensor(_ZEROS, dtype=x.dtype, device=x.device)
    columns = []
    for momentum in range(3):
        norm = _bessel(momentum + 1, zeros[momentum]).abs()
        columns.append(_bessel(momentum, x * zeros[momentum]) * (math.sqrt(2 / CUTOFF**3) / norm))
    return torch.cat(columns, dim=1)


def _bessel(momentum: int, x: Tensor) -> Tensor:
    """Return the spherical Bessel function of an order up to three (DLMF, section 10.49)."""
    before, function = torch.cos(x) / x, torch.sin(x) / x
    for order in range(momentum):
        before, function = function, (2 * order + 1) / x * function - before
    return function


def _harmonics(unit: Tensor) -> Tensor:
    """Return real harmonics of directions, scaled so that their products add up to ``P_l``."""
    x, y, z = unit.unbind(1)
    root = math.sqrt(3.0)
    return torch.stack(
        [
            torch.ones_like(x),
            x,
            y,
            z,
            root * x * y,
            root * y * z,
            root * z * x,
            0.5 * (3 * z * z - 1),
            0.5 * root * (x * x - y * y),
        ],
        dim=1,
    )
