"""Radial distributions of element properties around each site: how far what kind of neighbour is.

For each property the neighbours' values are spread by Gaussians over the distance; there are no
angles in it. As weighted symmetry functions (doi:10.1063/1.5019667) with properties for weights.
"""

from __future__ import annotations

import numpy as np
from pymatgen.core.structure import Structure

from nearedge.models.featurizers.base import checked
from nearedge.models.featurizers.elements import PROPERTIES, check_known, element_properties
from nearedge.models.featurizers.neighbours import neighbours
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray

CUTOFF = 6.5
"""Å."""
SHELLS = 16
_FIRST = 1.2
_APART = (CUTOFF - _FIRST) / SHELLS
_WIDTH = 0.8 * _APART
"""Å: the first centre, the distance of two, and the Gaussians' standard deviation."""


class RadialFeaturizer:
    """Distributions of `PROPERTIES` over the distance, `SHELLS` numbers each."""

    def __init__(self) -> None:
        self._centres = _FIRST + _APART * np.arange(SHELLS)
        self._ref = FeaturizerRef(
            name="radial",
            weights_sha256=None,
            options={"cutoff": CUTOFF, "shells": SHELLS, "properties": ",".join(PROPERTIES)},
            size=SHELLS * len(PROPERTIES),
        )

    @property
    def ref(self) -> FeaturizerRef:
        """Name and options; it has no weights."""
        return self._ref

    @property
    def blocks(self) -> dict[str, int]:
        """One block."""
        return {self._ref.name: self._ref.size}

    def features(self, structure: Structure) -> FloatArray:
        """Return the distributions around all sites, shape ``(n_sites, ref.size)``."""
        check_known(structure)
        features = np.zeros((len(structure), self._ref.size))
        start, end, vectors = neighbours(structure, CUTOFF)
        if len(start):
            distance = np.linalg.norm(vectors, axis=1)
            fading = 0.5 * (1 + np.cos(np.pi * distance / CUTOFF))
            apart = (distance[:, None] - self._centres) / _WIDTH
            shells = np.exp(-0.5 * apart**2) * fading[:, None]
            numbers = np.array([site.specie.Z for site in structure])
            properties = element_properties()[numbers[end] - 1]
            pairs = (properties[:, :, None] * shells[:, None, :]).reshape(len(start), -1)
            first = np.flatnonzero(np.diff(start, prepend=-1))
            features[start[first]] = np.add.reduceat(pairs, first)
        return checked(features, structure, "The radial distribution")
