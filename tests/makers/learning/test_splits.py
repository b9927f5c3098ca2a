"""However rows are divided, a material is on one side, and each kind of split keeps its word."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from nearedge.errors import DatasetError
from nearedge.makers.learning.splits import Split
from nearedge.schemas.dataset import DatasetRow

KINDS = ("random", "stratified", "formula")


def rows(materials: int = 300) -> list[DatasetRow]:
    """Materials of 1 to 12 sites, many of which share a formula."""
    generator = np.random.default_rng(4)
    found = []
    for material in range(materials):
        formula = f"CuO{generator.integers(1, 40)}"
        for site in range(min(12, 1 + int(generator.exponential(2.0)))):
            found.append(
                DatasetRow(
                    spectrum_id=f"{material}-{site}",
                    structure_key=f"k{material}",
                    structure_id=f"i{material}",
                    absorbing_index=site,
                    group=f"mp-{material}",
                    label=f"mp-{material}_{site:03d}",
                    formula=formula,
                )
            )
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_in_one_part_and_no_material_in_two(kind: str) -> None:
    every = rows()
    parts = Split(kind=kind, validation=0.2, test=0.1, seed=2).divide(every)
    assert sorted(n for numbers in parts.values() for n in numbers) == list(range(len(every)))
    sides: dict[str, set[str]] = {}
    for part, numbers in parts.items():
        for number in numbers:
            sides.setdefault(every[number].group, set()).add(part)
    assert {len(each) for each in sides.values()} == {1}


@pytest.mark.parametrize("kind", KINDS)
def test_the_draw_hangs_on_the_seed_and_not_on_the_order_of_the_rows(kind: str) -> None:
    every = rows()

    def labels(given: list[DatasetRow], seed: int) -> dict[str, set[str]]:
        parts = Split(kind=kind, seed=seed).divide(given)
        return {part: {given[n].label for n in numbers} for part, numbers in parts.items()}

    assert labels(every, 1) == labels(every[::-1], 1)
    assert labels(every, 1) != labels(every, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_what_else_is_in_a_data_set_hardly_moves_a_material(kind: str) -> None:
    every = rows()
    # Another element or code: two thirds of the same materials.
    some = [row for row in every if int(row.group.removeprefix("mp-")) % 3]

    def part_of(given: list[DatasetRow]) -> dict[str, str]:
        parts = Split(kind=kind, validation=0.2, test=0.1, seed=2).divide(given)
        return {given[n].group: part for part, numbers in parts.items() for n in numbers}

    here, there = part_of(every), part_of(some)
    moved = [group for group, part in there.items() if here[group] != part]
    assert len(moved) < 0.1 * len(there)


def test_small_data_sets_still_have_rows_to_judge_on() -> None:
    for seed in range(5):
        parts = Split(kind="random", validation=0.25, test=0.0, seed=seed).divide(rows(12))
        assert len({rows(12)[n].group for n in parts["val"]}) == 3


def test_stratified_parts_have_the_same_share_of_each_size_of_material() -> None:
    every = rows()
    sites = Counter(row.group for row in every)
    parts = Split(kind="stratified", validation=0.2, test=0.1, seed=0).divide(every)
    sizes = {
        part: Counter(sites[group] for group in {every[n].group for n in numbers})
        for part, numbers in parts.items()
    }
    share = {"train": 0.7, "val": 0.2, "test": 0.1}
    for size, count in Counter(sites.values()).items():
        for part, expected in share.items():
            assert abs(sizes[part][size] - expected * count) <= 1.5


def test_by_formula_no_formula_is_on_two_sides() -> None:
    every = rows()
    parts = Split(kind="formula", validation=0.2, test=0.2, seed=0).divide(every)
    formulas = [{every[n].formula for n in numbers} for numbers in parts.values()]
    assert sum(map(len, formulas)) == len(set.union(*formulas))
    assert len(formulas) == 3


def test_a_row_that_hides_its_formula_cannot_be_divided_by_it() -> None:
    every = [row.model_copy(update={"formula": ""}) for row in rows(3)]
    with pytest.raises(DatasetError, match="no formula"):
        Split(kind="formula").divide(every)
