"""SOAP power spectra of weighted densities: sites of any chemistry in one width.

A power spectrum that tells 90 elements apart has hundreds of thousands of numbers. Here each
neighbour counts by its element's properties instead (compression "mu2" of
doi:10.1038/s41524-022-00847-y, as dscribe has it): one density for each property, and the power
spectra of all pairs of densities.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from ase import Atoms
from dscribe.descriptors import SOAP
from numpy.typing import NDArray
from pymatgen.core.structure import Structure

from nearedge.models.featurizers.base import checked
from nearedge.models.featurizers.elements import (
    PROPERTIES,
    SYMBOLS,
    check_known,
    element_properties,
)
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray


@dataclass(frozen=True)
class SoapBasis:
    """How finely the surroundings are described.

    Parameters
    ----------
    cutoff
        In Å.
    radial, angular
        Number of radial functions, and highest angular momentum.
    width
        Of the Gaussian at each neighbour, in Å.
    """

    cutoff: float
    radial: int
    angular: int
    width: float

    @property
    def size(self) -> int:
        """Numbers of one power spectrum."""
        return self.radial * (self.radial + 1) // 2 * (self.angular + 1)


BASES = {
    "4": SoapBasis(cutoff=4.0, radial=4, angular=4, width=0.4),
    "5": SoapBasis(cutoff=5.0, radial=6, angular=4, width=0.5),
    "6": SoapBasis(cutoff=6.0, radial=6, angular=4, width=0.5),
}
"""By the name that a specification gives them."""
WEIGHTS = PROPERTIES[:4]
"""What the densities are weighted by."""
_PAIRS = list(combinations(range(len(WEIGHTS)), 2))


class SoapFeaturizer:
    """Power spectra of densities weighted by element properties, from dscribe.

    Parameters
    ----------
    name
        A key of `BASES`.
    """

    def __init__(self, name: str) -> None:
        basis = BASES[name]
        weights = element_properties()
        one = [_spectrum(basis, weights[:, k]) for k in range(len(WEIGHTS))]
        # The spectrum of a sum of two densities holds the cross term of the two.
        two = [_spectrum(basis, weights[:, a] + weights[:, b]) for a, b in _PAIRS]
        self._one, self._two = one, two
        self._ref = FeaturizerRef(
            name=f"soap:{name}",
            weights_sha256=None,
            options={
                "cutoff": basis.cutoff,
                "radial": basis.radial,
                "angular": basis.angular,
                "width": basis.width,
                "properties": ",".join(WEIGHTS),
            },
            size=basis.size * (len(one) + len(two)),
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
        """Return the power spectra of all sites, shape ``(n_sites, ref.size)``."""
        atoms = as_atoms(structure)
        one = [spectrum.create(atoms) for spectrum in self._one]
        crossed = [
            (spectrum.create(atoms) - one[a] - one[b]) / 2
            for spectrum, (a, b) in zip(self._two, _PAIRS, strict=True)
        ]
        return checked(np.concatenate([*one, *crossed], axis=1), structure, "dscribe")


def as_atoms(structure: Structure) -> Atoms:
    """Return a structure as dscribe takes it.

    Raises
    ------
    ModelError
        If it has an element that is not among the known ones.
    """
    check_known(structure)
    return Atoms(
        [site.specie.symbol for site in structure],
        cell=structure.lattice.matrix,
        scaled_positions=structure.frac_coords % 1.0,
        pbc=True,
    )


def _spectrum(basis: SoapBasis, weights: NDArray[np.float64]) -> SOAP:
    return SOAP(
        species=list(SYMBOLS),
        periodic=True,
        r_cut=basis.cutoff,
        n_max=basis.radial,
        l_max=basis.angular,
        sigma=basis.width,
        # Neighbours fade out towards the cutoff: none enters or leaves with a step.
        weighting={"function": "poly", "r0": basis.cutoff, "c": 1.0, "m": 1.0},
        compression={
            "mode": "mu2",
            "species_weighting": dict(zip(SYMBOLS, weights.tolist(), strict=True)),
        },
    )
