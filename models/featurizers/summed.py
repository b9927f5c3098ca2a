"""Several featurizers side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from pymatgen.core.structure import Structure

from nearedge.models.featurizers.base import Featurizer
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray


class SummedFeaturizer:
    """The features of several featurizers, one after the other.

    Parameters
    ----------
    parts
        Two or more, each once.
    """

    def __init__(self, parts: Sequence[Featurizer]) -> None:
        self.parts = tuple(parts)
        refs = [part.ref for part in parts]
        digests = [ref.weights_sha256 for ref in refs if ref.weights_sha256 is not None]
        self._ref = FeaturizerRef(
            name="+".join(ref.name for ref in refs),
            weights_sha256=_joined(digests),
            size=sum(ref.size for ref in refs),
            parts=tuple(refs),
        )

    @property
    def ref(self) -> FeaturizerRef:
        """The parts' names joined by ``+``, a digest of their weights, and their references."""
        return self._ref

    @property
    def blocks(self) -> dict[str, int]:
        """The parts' blocks, in their order."""
        return {name: width for part in self.parts for name, width in part.blocks.items()}

    def features(self, structure: Structure) -> FloatArray:
        """Return the features of all sites, shape ``(n_sites, ref.size)``."""
        return np.concatenate([part.features(structure) for part in self.parts], axis=1)


def _joined(digests: Sequence[str]) -> str | None:
    """Return the one digest, or that of several: any change of any weights changes it."""
    if len(digests) < 2:
        return digests[0] if digests else None
    return hashlib.sha256("+".join(digests).encode()).hexdigest()
