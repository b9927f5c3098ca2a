"""Our forward pass gives the library's numbers, with its messages summed where they belong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.compat import sum_messages_at_destination
from nearedge.models.featurizers.m3gnet import NAME, M3GNetFeaturizer, load_blocks, load_m3gnet
from nearedge.models.featurizers.m3gnet_blocks import BLOCK_NAMES, M3GNetBlocks
from nearedge.models.featurizers.weights import read_weights

pytestmark = pytest.mark.integration

ELEMENTS = (("Cu", 3.62), ("Al", 4.05), ("Ag", 4.16), ("Pt", 3.97), ("Ce", 5.16), ("Xe", 6.2))
CUBIC = (("Fe", 2.83), ("W", 3.19), ("Na", 4.2), ("Ba", 5.02), ("V", 3.0), ("U", 3.4))
SALTS = (
    *(("Na", "Cl", 5.69), ("Mg", "O", 4.26), ("Ti", "C", 4.33), ("La", "N", 5.3)),
    *(("Ni", "O", 4.18), ("Cs", "F", 6.1), ("Pb", "S", 6.0), ("Ca", "O", 4.84)),
)
RUTILES = (("Ti", 4.65, 2.97, 0.305), ("Sn", 4.83, 3.24, 0.307), ("Mn", 4.41, 2.89, 0.302))
PEROVSKITES = (("Sr", "Ti", 3.94), ("La", "Al", 3.82), ("Ba", "Zr", 4.24), ("K", "Ta", 4.03))
MOLECULES: dict[str, list[tuple[str, float, float, float]]] = {
    "water": [("O", 0, 0, 0), ("H", 0.76, 0.59, 0), ("H", -0.76, 0.59, 0)],
    "carbon dioxide": [("C", 0, 0, 0), ("O", 0, 0, 1.16), ("O", 0, 0, -1.16)],
    "nitrogen": [("N", 0, 0, 0), ("N", 0, 0, 1.1)],
    "methane": [
        ("C", 0, 0, 0),
        *(("H", *p) for p in 0.63 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])),
    ],
    "two far apart": [("Cu", 0, 0, 0), ("O", 0, 0, 1.8), ("Zn", 0, 9.0, 0)],
}


def of_all_kinds() -> Iterator[tuple[str, Structure]]:
    """Fifty structures: elements, salts, oxides, molecules, one atom, many, triclinic, disorder."""
    for symbol, a in ELEMENTS:
        yield f"fcc {symbol}, one atom", fcc(a, [symbol], [[0, 0, 0]])
    for symbol, a in CUBIC:
        bcc = Structure(Lattice.cubic(a), [symbol] * 2, [[0, 0, 0], [0.5] * 3])
        yield f"bcc {symbol}", bcc
    yield "simple cubic Bi, one atom", Structure(Lattice.cubic(3.2), ["Bi"], [[0, 0, 0]])
    for symbol, a in (("Si", 5.43), ("C", 3.57), ("Ge", 5.66)):
        yield f"diamond {symbol}", fcc(a, [symbol] * 2, [[0, 0, 0], [0.25] * 3])
    for one, other, a in SALTS:
        yield f"{one}{other}", fcc(a, [one, other], [[0, 0, 0], [0.5] * 3])
    for metal, a, c, u in RUTILES:
        places = [[0, 0, 0], [0.5] * 3, [u, u, 0], [-u, -u, 0]]
        places += [[0.5 + u, 0.5 - u, 0.5], [0.5 - u, 0.5 + u, 0.5]]
        yield f"{metal}O2", Structure(Lattice.tetragonal(a, c), [metal] * 2 + ["O"] * 4, places)
    for large, small, a in PEROVSKITES:
        places = [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
        yield f"{large}{small}O3", Structure(Lattice.cubic(a), [large, small, *"OOO"], places)
    for name, atoms in MOLECULES.items():
        symbols, *axes = zip(*atoms, strict=True)
        box = Lattice.orthorhombic(12, 20, 13)
        yield name, Structure(box, symbols, np.transpose(axes) + 6, coords_are_cartesian=True)
    generator = np.random.default_rng(4)
    for number in range(10):
        yield f"triclinic {number}", triclinic(generator, 3 + number)
    for cells, symbols in (((3, 3, 3), ("Mg", "O")), ((4, 4, 4), ("Ni", "O"))):
        large_cell = fcc(4.2, list(symbols), [[0, 0, 0], [0.5] * 3])
        large_cell.make_supercell(cells)
        moved = large_cell.cart_coords + generator.normal(0, 0.1, (len(large_cell), 3))
        yield (
            f"{len(large_cell)} atoms",
            Structure(large_cell.lattice, large_cell.species, moved, coords_are_cartesian=True),
        )
    yield "104 atoms at random", triclinic(generator, 104)
    yield "a needle", Structure(Lattice.orthorhombic(2.4, 30, 30), ["Au"], [[0, 0, 0]])


def fcc(a: float, symbols: list[str], places: list[list[float]]) -> Structure:
    return Structure(
        Lattice([[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]]), symbols, places
    )


def triclinic(generator: np.random.Generator, atoms: int) -> Structure:
    """Atoms at random, none nearer than 1.5 Å to another."""
    symbols = generator.choice(["Cu", "O", "S", "H", "K", "Fe", "P", "Gd"], atoms)
    edge = (18.0 * atoms) ** (1 / 3)
    lattice = Lattice(edge * (np.eye(3) + generator.uniform(-0.3, 0.3, (3, 3))))
    places: list[np.ndarray] = []
    while len(places) < atoms:
        place = generator.uniform(-1, 2, 3)
        if not places or lattice.get_all_distances(place, places).min() > 1.5:
            places.append(place)
    return Structure(lattice, symbols, places)


class Library:
    """matgl's M3GNet with messages summed at the destination."""

    def __init__(self, folder: Path) -> None:
        # Imported here because matgl takes five seconds, which other tests of this folder need not.
        from matgl.ext.pymatgen import Structure2Graph  # noqa: PLC0415
        from matgl.models import M3GNet  # noqa: PLC0415

        weights = read_weights(folder)
        self._network = M3GNet(**weights.arguments["model"]["init_args"])
        state = {key.removeprefix("model."): value for key, value in weights.state.items()}
        self._network.load_state_dict(state, strict=False)
        sum_messages_at_destination(self._network.graph_layers)
        self._network.eval().requires_grad_(False)
        self._converter = Structure2Graph(self._network.element_types, self._network.cutoff)

    def layers(self, structure: Structure) -> tuple[Any, dict[str, Any]]:
        """Return the library's graph and what its layers hold."""
        inside = Structure(structure.lattice, structure.species, structure.frac_coords % 1.0)
        graph, lattice, state = self._converter.get_graph(inside)
        graph.pbc_offshift = graph.pbc_offset @ lattice[0]
        graph.pos = graph.frac_coords @ lattice[0]
        self._network(graph, state_attr=torch.as_tensor(state))
        return graph, self._network.feature_dict


@pytest.fixture(scope="module")
def models(shared: Callable[[str], Path]) -> Path:
    return shared("models")


@pytest.fixture(scope="module")
def library(models: Path) -> Library:
    return Library(models / NAME)


@pytest.fixture(scope="module")
def whole(models: Path) -> M3GNetFeaturizer:
    return load_m3gnet(models, BLOCK_NAMES)


def test_nodes_of_all_blocks_are_the_librarys_on_fifty_structures(
    library: Library, whole: M3GNetFeaturizer
) -> None:
    errors: dict[str, float] = {}
    for name, structure in of_all_kinds():
        found = whole.features(structure)
        _, layers = library.layers(structure)
        for block in range(3):
            expected = layers[f"gc_{block + 1}"]["node_feat"].numpy()
            difference = found[:, 64 * block : 64 * (block + 1)] - expected
            relative = np.linalg.norm(difference, axis=1) / np.linalg.norm(expected, axis=1)
            errors[f"{name}, block {block + 1}"] = float(relative.max())
    assert len(errors) == 3 * 50
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] < 1e-5, worst


def test_pooled_blocks_are_means_of_the_librarys_bonds_and_nodes(
    library: Library, whole: M3GNetFeaturizer
) -> None:
    structure = dict(of_all_kinds())["triclinic 9"]
    graph, layers = library.layers(structure)
    start, end = graph.edge_index.numpy()
    vectors = graph.pos[end] + graph.pbc_offshift - graph.pos[start]
    x = np.linalg.norm(vectors.numpy(), axis=1) / 5.0
    weights = 1 - 10 * x**3 + 15 * x**4 - 6 * x**5
    embedded, first, second, last = (
        layers[name]["node_feat"].numpy() for name in ("embedding", "gc_1", "gc_2", "gc_3")
    )
    bonds = layers["gc_3"]["edge_feat"].numpy()
    found = dict(
        zip(BLOCK_NAMES, np.split(whole.features(structure), len(BLOCK_NAMES), 1), strict=True)
    )
    for name, nodes in (
        *(("cell", last), ("cell1", first), ("cell2", second), ("elements", embedded)),
    ):
        expected = np.tile(nodes.mean(axis=0), (len(nodes), 1))
        assert found[name] == pytest.approx(expected, abs=1e-4), name
    for site in range(len(structure)):
        mine = start == site
        total = weights[mine].sum() + 0.01
        for name, values in (
            ("edges", bonds),
            *(("neighbours", last[end]), ("neighbours1", first[end])),
            ("elements_near", embedded[end]),
        ):
            expected = weights[mine] @ values[mine] / total
            assert found[name][site] == pytest.approx(expected, abs=1e-4), name


def test_structures_in_one_graph_do_not_see_each_other(whole: M3GNetFeaturizer) -> None:
    structures = [structure for _, structure in of_all_kinds()][20:45]
    with torch.inference_mode():
        together = whole.model(whole.model.graph(structures)).numpy()
    apart = np.concatenate([whole.features(structure) for structure in structures])
    assert together == pytest.approx(apart, abs=1e-4, rel=1e-5)


def test_gradients_reach_every_parameter_and_are_right(models: Path) -> None:
    structure = dict(of_all_kinds())["TiO2"]
    model = load_blocks(models, BLOCK_NAMES).double()
    graph = model.graph([structure])
    direction = torch.randn(6, model.size, generator=torch.Generator().manual_seed(1)).double()
    (model(graph) * direction).sum().backward()
    for name, parameter in model.network.named_parameters():
        if name.startswith("final_layer"):
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    # One of the first parameters, which acts through everything: against a finite difference.
    weight = model.network.embedding["layer_edge_embedding"].layers[0].weight
    assert weight.grad is not None
    values = []
    with torch.no_grad():
        for step in (1e-5, -2e-5):
            weight[3, 2] += step
            values.append(float((model(graph) * direction).sum()))
    assert float(weight.grad[3, 2]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_a_state_is_taken_up_without_the_published_weights(models: Path) -> None:
    structure = dict(of_all_kinds())["TiO2"]
    published = load_blocks(models, ("1", "edges"))
    again = M3GNetBlocks(("1", "edges"))
    graph = again.graph([structure])
    with torch.inference_mode():
        assert not torch.allclose(again(graph), published(graph))
        again.load_state_dict(published.state_dict())
        torch.testing.assert_close(again(graph), published(graph))


def test_a_last_neighbour_leaves_without_a_step(whole: M3GNetFeaturizer) -> None:
    def pair(distance: float) -> np.ndarray:
        sites = [[0, 0, 0], [0, 0, distance], [3, 0, 0]]
        box = Lattice.orthorhombic(15, 20, 25)
        return whole.features(Structure(box, ["Cu", "O", "S"], sites, coords_are_cartesian=True))

    near, gone = pair(4.9999), pair(5.0001)
    assert np.abs(near - gone).max() < 2e-3
    assert np.isfinite(gone).all()
