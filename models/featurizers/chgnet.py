"""CHGNet features: for machines without M3GNet's weights, since CHGNet's package carries its own.

The feature of a site is the 64 numbers of its node before the energy readout of CHGNet 0.3.0
(doi:10.1038/s42256-023-00716-3).
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError, WeightsError
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray

if TYPE_CHECKING:
    from chgnet.model.model import CHGNet

VERSION = "0.3.0"
SIZE = 64


class CHGNetFeaturizer:
    """The frozen network. Make it by `load_chgnet`."""

    def __init__(self, network: CHGNet, weights_sha256: str) -> None:
        self._network = network
        self._ref = FeaturizerRef(
            name="chgnet", weights_sha256=weights_sha256, options={"model": VERSION}, size=SIZE
        )

    @property
    def ref(self) -> FeaturizerRef:
        """Name, weights and options."""
        return self._ref

    @property
    def blocks(self) -> dict[str, int]:
        """One block."""
        return {"chgnet": SIZE}

    def features(self, structure: Structure) -> FloatArray:
        """Return the node features of all sites, shape ``(n_sites, 64)``, in the sites' order."""
        wrapped = Structure(structure.lattice, structure.species, structure.frac_coords % 1.0)
        try:
            predicted = self._network.predict_structure(wrapped, task="e", return_atom_feas=True)
            nodes = cast("dict[str, NDArray[np.float32]]", predicted)["atom_fea"]
        except (ValueError, IndexError) as error:
            raise ModelError(
                f"CHGNet cannot describe {structure.composition.reduced_formula}: {error}"
            ) from None
        features: FloatArray = nodes.astype(np.float64)
        if features.shape != (len(structure), SIZE) or not np.all(np.isfinite(features)):
            raise ModelError(
                f"CHGNet gives no usable numbers for {structure.composition.formula}: look at its "
                "coordinates."
            )
        return features


def load_chgnet(model_path: Path | None = None) -> CHGNetFeaturizer:
    """Load CHGNet with the weights of its own package; `model_path` is not needed.

    Raises
    ------
    WeightsError
        If the package is not installed or its weights cannot be read.
    """
    del model_path
    if importlib.util.find_spec("chgnet") is None:
        raise WeightsError(
            "The package chgnet is not installed: run `pip install nearedge[chgnet]`, or set "
            "NEAREDGE_MODEL_PATH to M3GNet's weights and choose `--featurizer m3gnet`."
        )
    # An extra that need not be installed, so not at the top.
    from chgnet.model.model import CHGNet  # noqa: PLC0415

    torch.set_num_threads(1)
    try:
        network = CHGNet.load(model_name=VERSION, use_device="cpu", verbose=False)
    except Exception as error:
        raise WeightsError(
            f"The weights in the package chgnet cannot be read ({type(error).__name__}): "
            "install it again."
        ) from None
    network.requires_grad_(False)
    return CHGNetFeaturizer(network, _state_sha256(network))


def _state_sha256(network: CHGNet) -> str:
    """Hash the parameters by name: the package does not say which file it read."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
