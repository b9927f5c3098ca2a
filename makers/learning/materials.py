"""Which materials a model has learned: it is judged on none of them, in whatever data set."""

from __future__ import annotations

from collections.abc import Iterable

from nearedge.makers.learning.rows import part_numbers
from nearedge.schemas import DatasetDoc, ModelCard
from nearedge.store.learned import DatasetStore, ModelStore
from nearedge.store.operations import MongoDatabase


def parts_of(card: ModelCard) -> list[str]:
    """Return the parts of its data sets that a model learned from."""
    return str(card.hyperparameters.get("parts", "train")).split(",")


def learned_materials(database: MongoDatabase, card: ModelCard) -> set[str]:
    """Return the materials that a model or any of its parents learned.

    Raises
    ------
    DatabaseError
        If a parent or a data set is not there any more: nobody knows then what was learned.
    """
    known: set[str] = set()
    while True:
        for each in card.learned_from:
            dataset = DatasetStore(database).get(each.dataset_id)
            known |= materials_of(dataset, part_numbers(dataset, parts_of(card)))
        if card.parent is None:
            return known
        card = ModelStore(database).card(card.parent)


def materials_of(dataset: DatasetDoc, numbers: Iterable[int]) -> set[str]:
    """Return the groups of some rows, and their structures' ids.

    A material may go by its published id in one data set, and by its structure's in another.
    """
    rows = [dataset.rows[number] for number in numbers]
    return {row.group for row in rows} | {row.structure_id for row in rows}


def numbers_of(dataset: DatasetDoc, materials: set[str]) -> set[int]:
    """Return the numbers of the rows of some materials."""
    known = {row.group for row in dataset.rows if row.structure_id in materials} | materials
    return {number for number, row in enumerate(dataset.rows) if row.group in known}
