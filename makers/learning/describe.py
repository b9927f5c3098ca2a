"""Describing the surroundings of absorbing sites, once per structure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict, Field

from nearedge.errors import DatasetError, ModelError, StructureError
from nearedge.makers.learning.featurize import keys_of_spectra
from nearedge.schemas import DatasetDoc, StructureDoc
from nearedge.schemas.styles import DescriptorsDoc, SiteDescriptors, descriptors_id
from nearedge.spectra.spectrum import FloatArray
from nearedge.store.connection import connect
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.store.styles import DescriptorStore
from nearedge.structures.environment import DESCRIPTORS, site_environments

_BATCH = 20
"""Structures between two writes: what a killed job loses at most."""


class DescribeOutcome(BaseModel):
    """What a describe job returns; the descriptors are in the store."""

    model_config = ConfigDict(extra="forbid")

    computed: int
    known: int
    undefined: dict[str, int] = Field(
        description="Descriptor to the number of sites, of those computed, without it."
    )
    cpu_seconds: float


@dataclass
class DescribeMaker(Maker):
    """Compute the descriptors of stored structures that lack them.

    Parameters
    ----------
    name
        The job's name.
    part, parts
        This job does every `parts`-th structure, from number `part`, so that several jobs share
        the work.
    """

    name: str = "describe"
    part: int = 0
    parts: int = 1

    @job(output_schema=DescribeOutcome)
    def make(
        self,
        absorber: str,
        query: SpectrumQuery | None = None,
        structure_keys: Sequence[str] | None = None,
    ) -> DescribeOutcome:
        """Return how many structures were computed and known; as a job, when called on a maker.

        Parameters
        ----------
        absorber
            Symbol of the element whose sites are described.
        query
            Take the structures of the site spectra that answer it.
        structure_keys
            Take these; they beat `query`.
        """
        database = connect()
        if structure_keys is None:
            asked = (query or SpectrumQuery()).model_copy(update={"absorber": absorber})
            structure_keys = keys_of_spectra(database, asked)
        mine = sorted(set(structure_keys))[self.part :: self.parts]
        return describe_structures(database, mine, absorber)


def describe_structures(
    database: MongoDatabase, structure_keys: Sequence[str], absorber: str
) -> DescribeOutcome:
    """Compute and store the descriptors that are missing, of all sites of one element.

    Raises
    ------
    DatasetError
        If a structure is not in the store, or has no such site.
    """
    started = time.process_time()
    store = DescriptorStore(database)
    undefined = dict.fromkeys(DESCRIPTORS, 0)
    missing = sorted(set(structure_keys) - set(store.get_many(structure_keys, absorber)))
    for start in range(0, len(missing), _BATCH):
        batch = missing[start : start + _BATCH]
        structures = SpectraStore(database).structures(batch)
        documents = []
        for key in batch:
            if key not in structures:
                raise DatasetError(f"There is no structure {key} in the database.")
            documents.append(_described(structures[key], absorber))
        store.put_many(documents)
        for site in (site for document in documents for site in document.sites):
            for name, value in site.values.items():
                undefined[name] += value is None
    return DescribeOutcome(
        computed=len(missing),
        known=len(set(structure_keys)) - len(missing),
        undefined=undefined,
        cpu_seconds=time.process_time() - started,
    )


def _described(document: StructureDoc, absorber: str) -> DescriptorsDoc:
    structure = document.to_structure()
    sites = [n for n, site in enumerate(structure) if site.specie.symbol == absorber]
    try:
        found = site_environments(structure, sites)
    except StructureError as error:
        raise DatasetError(f"{document.source.label}: {error}") from None
    return DescriptorsDoc(
        descriptors_id=descriptors_id(document.structure_key, absorber),
        structure_key=document.structure_key,
        absorber=absorber,
        sites=[
            SiteDescriptors.of(site, environment)
            for site, environment in zip(sites, found, strict=True)
        ],
    )


def descriptors_of(
    database: MongoDatabase, dataset: DatasetDoc, names: Sequence[str] = DESCRIPTORS
) -> FloatArray:
    """Return the descriptors of a data set's absorbing sites; NaN where one is not defined.

    Returns
    -------
    FloatArray
        Shape ``(rows, len(names))``.

    Raises
    ------
    ModelError
        If there is no such descriptor, or a structure was not described.
    """
    unknown = sorted(set(names) - set(DESCRIPTORS))
    if unknown or len(set(names)) < len(names) or not names:
        raise ModelError(
            f"Descriptors to follow are some of {', '.join(DESCRIPTORS)}, each once, not "
            f"{', '.join(names) or 'none'}."
        )
    keys = {row.structure_key for row in dataset.rows}
    documents = DescriptorStore(database).get_many(keys, dataset.absorber)
    values = np.full((len(dataset.rows), len(names)), np.nan)
    for number, row in enumerate(dataset.rows):
        if row.structure_key not in documents:
            raise ModelError(f"The site {row.label} was not described: describe it first.")
        sites = documents[row.structure_key].sites
        site = next(each for each in sites if each.absorbing_index == row.absorbing_index)
        values[number] = [
            np.nan if site.values[name] is None else site.values[name] for name in names
        ]
    return values
