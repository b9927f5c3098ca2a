"""Features of structures that nobody stores, computed by several processes before they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.core.structure import Structure

from nearedge.makers.learning.feature_workers import WORTH_A_PROCESS, CpuClock, describe_all
from nearedge.models.featurizers import Featurizer
from nearedge.schemas.model import FeaturizerRef
from nearedge.schemas.structure import StructureDoc
from nearedge.settings import get_settings
from nearedge.spectra.spectrum import FloatArray
from nearedge.store.features import Features
from nearedge.structures.identity import structure_key
from nearedge.structures.source import SourceRef


@dataclass(frozen=True, eq=False)
class ComputedAhead:
    """A featurizer that knows the features of some structures already.

    Parameters
    ----------
    featurizer
        Answers for all others.
    known
        Features by structure key.
    """

    featurizer: Featurizer
    known: Mapping[str, Features]

    @property
    def ref(self) -> FeaturizerRef:
        """The featurizer's."""
        return self.featurizer.ref

    @property
    def blocks(self) -> dict[str, int]:
        """The featurizer's."""
        return self.featurizer.blocks

    def features(self, structure: Structure) -> FloatArray:
        """Return the features of all sites, shape ``(n_sites, ref.size)``."""
        found = self.known.get(structure_key(structure))
        if found is None:
            return self.featurizer.features(structure)
        features: FloatArray = found.astype(np.float64, copy=False)
        return features


def computed_ahead(
    featurizer: Featurizer, structures: Sequence[Structure], workers: int
) -> Featurizer:
    """Return a featurizer that has computed the features of some structures.

    Parameters
    ----------
    featurizer
        One that other processes can load too.
    workers
        Processes; with one, or for few structures, nothing is computed ahead. Structures that the
        featurizer refuses it refuses when it is asked.

    Raises
    ------
    ModelError
        If a process is killed.
    """
    if workers == 1 or len(structures) < WORTH_A_PROCESS:
        return featurizer
    documents = (
        StructureDoc.from_structure(each, SourceRef(kind="file", label=str(number)))
        for number, each in enumerate(structures)
    )
    described = describe_all(
        featurizer,
        documents,
        CpuClock(),
        workers=workers,
        model_path=get_settings().model_path,
    )
    known = {
        each.document.structure_key: each.features
        for each in described
        if each.features is not None
    }
    return ComputedAhead(featurizer, known)
