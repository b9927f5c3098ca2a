"""The interface of every featurizer."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray


class Featurizer(Protocol):
    """Turns a structure into numbers for each of its sites."""

    @property
    def ref(self) -> FeaturizerRef:
        """Name, weights and options: what a stored feature or model is tied to."""

    @property
    def blocks(self) -> dict[str, int]:
        """Names and widths of what the features are made of, in order; they sum to `ref.size`."""

    def features(self, structure: Structure) -> FloatArray:
        """Compute the features of all sites, in the order of the structure.

        Parameters
        ----------
        structure
            An ordered periodic structure; lengths in Å.

        Returns
        -------
        FloatArray
            Shape ``(n_sites, ref.size)``, without units.

        Raises
        ------
        ModelError
            If the network does not know one of the elements, or gives numbers that are not finite.
        """


def checked(features: FloatArray, structure: Structure, name: str) -> FloatArray:
    """Return features rounded to four bytes, as they are stored.

    Parameters
    ----------
    name
        What computed them, for the sentence that says that it failed.

    Raises
    ------
    ModelError
        If there is not a row for each site, or a number is not finite.
    """
    if len(features) != len(structure) or not np.all(np.isfinite(features)):
        raise ModelError(
            f"{name} gives no usable numbers for {structure.composition.formula}: look at its "
            "coordinates."
        )
    return features.astype(np.float32).astype(np.float64)
