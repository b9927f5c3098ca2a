from __future__ import annotations

import pytest

from nearedge.errors import StructureError
from nearedge.structures.elements import core_hole_width, edge_energy, has_edge


def test_core_hole_widths_are_those_of_the_tables() -> None:
    assert core_hole_width("Ti", "K") == 0.94
    assert core_hole_width("Cu", "L3") < core_hole_width("Cu", "K")


@pytest.mark.parametrize(("element", "edge"), [("Xx", "K"), ("He", "L3"), ("Ti", "P9")])
def test_a_level_without_a_width_is_refused_by_name(element: str, edge: str) -> None:
    with pytest.raises(StructureError, match=f"{element} {edge}: give a width"):
        core_hole_width(element, edge)


def test_l2_and_l3_together_are_taken_for_l3() -> None:
    assert core_hole_width("Cu", "L23") == core_hole_width("Cu", "L3")
    assert edge_energy("Cu", "L23") == edge_energy("Cu", "L3") < edge_energy("Cu", "L2")
    assert has_edge(29, "L23")
    assert not has_edge(2, "L23")
    assert has_edge(8, "K")
    assert not has_edge(8, "L3")
    with pytest.raises(StructureError, match="no L23 edge of He"):
        edge_energy("He", "L23")
