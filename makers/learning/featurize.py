"""Features of stored structures, computed once per featurizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict, Field

from nearedge.errors import DatabaseError
from nearedge.makers.learning.feature_workers import CpuClock, Described, describe_all
from nearedge.models.featurizers import Featurizer, load_featurizer
from nearedge.models.featurizers.summed import SummedFeaturizer
from nearedge.schemas import SpectrumKind
from nearedge.schemas.model import FeaturizerRef
from nearedge.schemas.structure import StructureDoc
from nearedge.settings import get_settings
from nearedge.store.connection import connect
from nearedge.store.features import FeatureStore
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
        A specification; see `nearedge.models.featurizers`.
    part, parts
        This job does every `parts`-th structure, from number `part`, so that several jobs share
        the work.
    workers
        Processes of this job, each with one thread.
    """

    name: str = "featurize"
    featurizer: str = "m3gnet"
    part: int = 0
    parts: int = 1
    workers: int = 1

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
        featurizer = featurizer_of(self.featurizer)
        return featurize_structures(database, featurizer, mine, workers=self.workers)


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
    database: MongoDatabase,
    featurizer: Featurizer,
    structure_keys: Sequence[str],
    *,
    workers: int = 1,
    step: Callable[[int], None] = lambda _: None,
) -> FeaturizeOutcome:
    """Compute and store the features that are missing; of a sum, the parts that are missing.

    Parameters
    ----------
    workers
        Processes that share the structures; see `describe_all`.
    step
        Is told after each write how many more structures are done.

    Raises
    ------
    DatabaseError
        If a structure is not in the store.
    ModelError
        If a worker is killed.
    """
    clock = CpuClock()
    keys = list(dict.fromkeys(structure_keys))
    computed: set[str] = set()
    refused: dict[str, RefusedStructure] = {}
    parts = featurizer.parts if isinstance(featurizer, SummedFeaturizer) else (featurizer,)
    wanting = [FeatureStore(database).missing(keys, part.ref) for part in parts]
    progress = _Progress(step, len(keys), sum(map(len, wanting)))
    for part, wanted in zip(parts, wanting, strict=True):
        for batch in _stored(database, part, wanted, clock, workers):
            for each in batch:
                key = each.document.structure_key
                if each.features is None:
                    refused[key] = RefusedStructure(
                        structure_key=key, label=each.document.source.label, reason=each.refusal
                    )
                else:
                    computed.add(key)
            progress.done(len(batch))
    computed -= refused.keys()
    return FeaturizeOutcome(
        featurizer=featurizer.ref,
        computed=len(computed),
        known=len(keys) - len(computed) - len(refused),
        refused=[refused[key] for key in keys if key in refused],
        cpu_seconds=clock.seconds,
    )


class _Progress:
    """Turns descriptions, of which a structure may need several, into structures."""

    def __init__(self, step: Callable[[int], None], structures: int, descriptions: int) -> None:
        self._step = step
        self._structures, self._descriptions = structures, descriptions
        self._told = self._done = 0
        self.done(0)

    def done(self, count: int) -> None:
        """Take down that so many more descriptions are stored."""
        self._done += count
        left = self._descriptions - self._done
        finished = self._structures - min(left, self._structures)
        self._step(finished - self._told)
        self._told = finished


def _stored(
    database: MongoDatabase,
    featurizer: Featurizer,
    keys: Sequence[str],
    clock: CpuClock,
    workers: int,
) -> Iterator[list[Described]]:
    """Describe structures, and return them some at a time as they are stored."""
    described = describe_all(
        featurizer,
        _documents(database, keys),
        clock,
        workers=workers,
        model_path=get_settings().model_path,
    )
    features = FeatureStore(database)
    with closing(described):
        while batch := list(islice(described, _BATCH)):
            found = {
                each.document.structure_key: each.features
                for each in batch
                if each.features is not None
            }
            features.put_many(found, featurizer.ref)
            yield batch


def _documents(database: MongoDatabase, keys: Sequence[str]) -> Iterator[StructureDoc]:
    """Read structures some at a time, as they are asked for."""
    spectra = SpectraStore(database)
    for start in range(0, len(keys), _BATCH):
        batch = keys[start : start + _BATCH]
        found = spectra.structures(batch)
        for key in batch:
            if key not in found:
                raise DatabaseError(f"There is no structure {key} in the database.")
            yield found[key]
