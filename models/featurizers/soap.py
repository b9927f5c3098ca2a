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

from nearedge.errors import ModelError
from nearedge.models.featurizers.elements import PROPERTIES, SYMBOLS, element_properties
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
_PAIRS = list(combinations(range(len(PROPERTIES)), 2))


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
        one = [_spectrum(basis, weights[:, k]) for k in range(weights.shape[1])]
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
                "properties": ",".join(PROPERTIES),
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
        atoms = as_atoms(structure, SYMBOLS)
        one = [spectrum.create(atoms) for spectrum in self._one]
        crossed = [
            (spectrum.create(atoms) - one[a] - one[b]) / 2
            for spectrum, (a, b) in zip(self._two, _PAIRS, strict=True)
        ]
        return finite(np.concatenate([*one, *crossed], axis=1), structure)


def as_atoms(structure: Structure, known: tuple[str, ...]) -> Atoms:
    """Return a structure as dscribe takes it.

    Raises
    ------
    ModelError
        If it has an element that is not among the `known`.
    """
    symbols = [site.specie.symbol for site in structure]
    unknown = sorted(set(symbols) - set(known))
    if unknown:
        raise ModelError(
            f"There are no properties of {unknown[0]}, which is in "
            f"{structure.composition.reduced_formula}: choose `--featurizer m3gnet`."
        )
    return Atoms(
        symbols,
        cell=structure.lattice.matrix,
        scaled_positions=structure.frac_coords % 1.0,
        pbc=True,
    )


def finite(features: FloatArray, structure: Structure) -> FloatArray:
    """Return features rounded to four bytes, as they are stored, or refuse those not finite."""
    if features.shape[0] != len(structure) or not np.all(np.isfinite(features)):
        raise ModelError(
            f"dscribe gives no usable numbers for {structure.composition.formula}: look at its "
            "coordinates."
        )
    return features.astype(np.float32).astype(np.float64)


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
