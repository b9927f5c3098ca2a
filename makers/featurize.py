"""Features of stored structures, computed once per featurizer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict, Field

from nearedge.errors import DatabaseError, ModelError
from nearedge.models.featurizers import Featurizer, load_featurizer
from nearedge.schemas import SpectrumKind
from nearedge.schemas.model import FeaturizerRef
from nearedge.settings import get_settings
from nearedge.store.connection import connect
from nearedge.store.features import Features, FeatureStore
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import SpectrumQuery
from nearedge.store.spectra_store import SpectraStore

_BATCH = 50
"""Structures between two writes: what a killed job loses at most."""


class RefusedStructure(BaseModel):
    """A structure that the featurizer cannot describe."""

    model_config = ConfigDict(extra="forbid")

    structure_key: str
    label: str
    reason: str


class FeaturizeOutcome(BaseModel):
    """What a featurize job returns; the features are in the store."""

    model_config = ConfigDict(extra="forbid")

    featurizer: FeaturizerRef
    computed: int
    known: int
    refused: list[RefusedStructure] = Field(default_factory=list)
    cpu_seconds: float


@dataclass
class FeaturizeMaker(Maker):
    """Compute the features of stored structures that lack them.

    Parameters
    ----------
    name
        The job's name.
    featurizer
        ``m3gnet`` or ``chgnet``.
    part, parts
        This job does every `parts`-th structure, from number `part`, so that several jobs share
        the work.
    """

    name: str = "featurize"
    featurizer: str = "m3gnet"
    part: int = 0
    parts: int = 1

    @job(output_schema=FeaturizeOutcome)
    def make(
        self, query: SpectrumQuery | None = None, structure_keys: Sequence[str] | None = None
    ) -> FeaturizeOutcome:
        """Return how many structures were computed and known; as a job, when called on a maker.

        Parameters
        ----------
        query
            Take the structures of the site spectra that answer it.
        structure_keys
            Take these; they beat `query`.

        Raises
        ------
        WeightsError
            If the featurizer's weights are missing, damaged or compute wrong numbers.
        """
        database = connect()
        if structure_keys is None:
            structure_keys = keys_of_spectra(database, query or SpectrumQuery())
        mine = sorted(set(structure_keys))[self.part :: self.parts]
        return featurize_structures(database, featurizer_of(self.featurizer), mine)


def featurizer_of(name: str) -> Featurizer:
    """Return the featurizer with the weights that the settings point to, loaded once a process."""
    return _loaded(name, get_settings().model_path)


@lru_cache(maxsize=4)
def _loaded(name: str, model_path: Path | None) -> Featurizer:
    return load_featurizer(name, model_path=model_path)


def keys_of_spectra(database: MongoDatabase, query: SpectrumQuery) -> list[str]:
    """Return the keys of the structures that the site spectra answering `query` are of."""
    sites = query.model_copy(update={"kind": SpectrumKind.SITE})
    return sorted({row.structure_key for row in SpectraStore(database).listing(sites)})


def featurize_structures(
    database: MongoDatabase, featurizer: Featurizer, structure_keys: Sequence[str]
) -> FeaturizeOutcome:
    """Compute and store the features that are missing.

    Raises
    ------
    DatabaseError
        If a structure is not in the store.
    """
    started = time.process_time()
    features = FeatureStore(database)
    spectra = SpectraStore(database)
    known = computed = 0
    refused: list[RefusedStructure] = []
    for start in range(0, len(structure_keys), _BATCH):
        batch = structure_keys[start : start + _BATCH]
        have = features.get_many(batch, featurizer.ref)
        missing = [key for key in batch if key not in have]
        known += len(batch) - len(missing)
        new: dict[str, Features] = {}
        structures = spectra.structures(missing)
        for key in missing:
            if key not in structures:
                raise DatabaseError(f"There is no structure {key} in the database.")
            document = structures[key]
            try:
                new[key] = featurizer.features(document.to_structure())
            except ModelError as error:
                refused.append(
                    RefusedStructure(
                        structure_key=key, label=document.source.label, reason=str(error)
                    )
                )
        features.put_many(new, featurizer.ref)
        computed += len(new)
    return FeaturizeOutcome(
        featurizer=featurizer.ref,
        computed=computed,
        known=known,
        refused=refused,
        cpu_seconds=time.process_time() - started,
    )
