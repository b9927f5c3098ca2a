"""Each correction of `nearedge.compat` is still needed, and works.

Where a test of the first kind fails, upstream was mended: delete the correction it names.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from matgl.layers._graph_convolution import M3GNetBlock
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from pymatgen.io.vasp import sets as vasp_sets

from nearedge.compat import lightshow_parameters, sum_messages_at_destination

NEEDED = "lightshow is not installed: pip install --no-deps lightshow==1.2.8"


def test_lightshow_still_cannot_be_imported_as_it_is(need: Callable[[object, str], None]) -> None:
    need(importlib.util.find_spec("lightshow"), NEEDED)
    run = subprocess.run(
        [sys.executable, "-c", "import lightshow"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode != 0, (
        "`import lightshow` works: delete nearedge.compat.lightshow_parameters and import "
        "lightshow.parameters where it is used."
    )
    assert "DictSet" in run.stderr or "mp_api" in run.stderr


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("feff", "FEFFParameters"),
        ("xspectra", "XSpectraParameters"),
        ("ocean", "OCEANParameters"),
        ("exciting", "EXCITINGParameters"),
        ("vasp", "VASPParameters"),
    ],
)
def test_lightshows_input_sets_are_had_all_the_same(
    need: Callable[[object, str], None], code: str, name: str
) -> None:
    need(importlib.util.find_spec("lightshow"), NEEDED)
    assert isinstance(getattr(lightshow_parameters(code), name), type)
    assert "lightshow" not in sys.modules


def test_pymatgen_still_lacks_the_name_that_lightshows_vasp_module_imports(
    need: Callable[[object, str], None],
) -> None:
    need(importlib.util.find_spec("lightshow"), NEEDED)
    lightshow_parameters("vasp")
    assert not hasattr(vasp_sets, "DictSet"), (
        "pymatgen has DictSet: delete nearedge.compat._dict_set, if lightshow's VASP inputs have "
        "their magnetic moments without it."
    )


def test_pymatgen_still_drops_magnetic_moments_where_ispin_is_not_said() -> None:
    structure = Structure(Lattice.cubic(3.0), ["Fe"], [[0.0, 0.0, 0.0]])
    config = {"INCAR": {"LASPH": True, "MAGMOM": {"Fe": 5}}, "KPOINTS": {"reciprocal_density": 1}}
    assert "MAGMOM" not in vasp_sets.VaspInputSet(structure, config).incar, (
        "pymatgen gives MAGMOM without ISPIN again: let nearedge.compat._dict_set be the class."
    )
    config["INCAR"]["ISPIN"] = 2
    assert vasp_sets.VaspInputSet(structure, config).incar["MAGMOM"] == [5]


def messages_arrive_at(block: M3GNetBlock) -> list[bool]:
    """Send one message along the edge from node 0 to node 1 and say which nodes it changed."""
    generator = torch.Generator().manual_seed(0)
    nodes, edges = torch.rand(2, 4, generator=generator), torch.rand(1, 4, generator=generator)
    update = block.conv.node_update_(
        torch.tensor([[0], [1]]), edges, nodes, torch.rand(1, 3, generator=generator), None, 2
    )
    return [bool(row.abs().max() > 0) for row in update]


def a_block() -> M3GNetBlock:
    torch.manual_seed(0)
    return M3GNetBlock(
        degree=3,
        activation=torch.nn.SiLU(),
        conv_hiddens=[4, 4],
        dim_node_feats=4,
        dim_edge_feats=4,
    )


def test_matgl_still_sums_messages_at_the_source() -> None:
    assert messages_arrive_at(a_block()) == [True, False], (
        "matgl no longer sums messages at the source of edges: delete "
        "nearedge.compat.sum_messages_at_destination, if the reference energies come out without."
    )


def test_corrected_blocks_sum_at_the_destination_and_others_are_left_alone() -> None:
    corrected, other = a_block(), a_block()
    before = dict(corrected.state_dict())
    sum_messages_at_destination([corrected])
    assert messages_arrive_at(corrected) == [False, True]
    assert messages_arrive_at(other) == [True, False]
    after = corrected.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_matgl_still_keeps_the_order_of_sites() -> None:
    """Features are assigned to sites by their place."""
    from matgl.ext.pymatgen import Structure2Graph  # noqa: PLC0415

    species = ["O", "Cu", "O", "Ti"]
    positions = np.array([[0.9, 0.1, 0.2], [0.1, 0.4, 0.6], [0.5, 0.5, 0.1], [0.3, 0.9, 0.9]])
    structure = Structure(Lattice.cubic(5.0), species, positions)
    graph, _, _ = Structure2Graph(("Cu", "O", "Ti"), 5.0).get_graph(structure)
    assert graph.node_type.tolist() == [1, 0, 1, 2]
    assert graph.frac_coords.numpy() == pytest.approx(positions, abs=1e-6)
