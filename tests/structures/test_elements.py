from __future__ import annotations

import pytest

from nearedge.errors import StructureError
from nearedge.structures.elements import core_hole_width


def test_core_hole_widths_are_those_of_the_tables() -> None:
    assert core_hole_width("Ti", "K") == 0.94
    assert core_hole_width("Cu", "L3") < core_hole_width("Cu", "K")


@pytest.mark.parametrize(("element", "edge"), [("Xx", "K"), ("He", "L3"), ("Ti", "P9")])
def test_a_level_without_a_width_is_refused_by_name(element: str, edge: str) -> None:
    with pytest.raises(StructureError, match=f"{element} {edge}: give a width"):
        core_hole_width(element, edge)
