"""What is around the sites of a data set, for the limits of what a model has learned."""

from __future__ import annotations

from collections.abc import Sequence

from nearedge.models.uncertainty.surroundings import Surroundings, surroundings
from nearedge.schemas import DatasetDoc
from nearedge.store.operations import MongoDatabase
from nearedge.store.spectra_store import SpectraStore

_BATCH = 200
"""Structures held at a time."""


def surroundings_of(
    database: MongoDatabase, dataset: DatasetDoc, numbers: Sequence[int]
) -> list[Surroundings]:
    """Return the surroundings of some rows of a data set, in the order of `numbers`.

    Raises
    ------
    StructureError
        If a site of a structure is occupied in part.
    """
    sites: dict[str, set[int]] = {}
    for number in numbers:
        row = dataset.rows[number]
        sites.setdefault(row.structure_key, set()).add(row.absorbing_index)
    found: dict[tuple[str, int], Surroundings] = {}
    keys = sorted(sites)
    for start in range(0, len(keys), _BATCH):
        stored = SpectraStore(database).structures(keys[start : start + _BATCH])
        for key, document in stored.items():
            wanted = sorted(sites[key])
            described = surroundings(document.to_structure(), wanted)
            found |= {(key, site): each for site, each in zip(wanted, described, strict=True)}
    rows = [dataset.rows[number] for number in numbers]
    return [found[row.structure_key, row.absorbing_index] for row in rows]
