"""An M3GNet that was trained further, and lives in the weights of the model that it serves."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.structure import Structure
from safetensors.numpy import save

from nearedge.models.featurizers.m3gnet import NAME
from nearedge.models.featurizers.m3gnet_blocks import M3GNetBlocks
from nearedge.models.featurizers.m3gnet_network import WIDTH
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray

FEATURIZER = "m3gnet-own"
"""Name of the featurizers that are inside a model's weights."""


class OwnM3GNet:
    """The featurizer."""

    def __init__(self, model: M3GNetBlocks, sha256: str) -> None:
        self._model = model
        self._ref = FeaturizerRef(
            name=FEATURIZER,
            weights_sha256=sha256,
            options={"model": NAME, "blocks": ",".join(model.blocks)},
            size=model.size,
        )

    @property
    def ref(self) -> FeaturizerRef:
        """Name, weights and options."""
        return self._ref

    @property
    def blocks(self) -> dict[str, int]:
        """Names and widths of the blocks."""
        return {f"{FEATURIZER}:{name}": WIDTH for name in self._model.blocks}

    def features(self, structure: Structure) -> FloatArray:
        """Return the features of all sites, shape ``(n_sites, ref.size)``, in the sites' order."""
        return self._model.features(structure)


def weights_sha256(state: dict[str, NDArray[Any]]) -> str:
    """Return the hash of M3GNet's parameters by name."""
    arrays = {key: np.ascontiguousarray(value) for key, value in state.items()}
    return hashlib.sha256(bytes(save(arrays))).hexdigest()
