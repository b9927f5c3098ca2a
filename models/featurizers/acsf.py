"""Atom-centred symmetry functions (doi:10.1063/1.3553717) between families of elements.

One set of functions for each pair of 90 elements would be far too many; neighbours are told apart
by family, for which one of its members stands.
"""

from __future__ import annotations

from ase import Atoms
from dscribe.descriptors import ACSF
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure

from nearedge.models.featurizers.base import checked
from nearedge.models.featurizers.elements import SYMBOLS
from nearedge.models.featurizers.soap import as_atoms
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray

CUTOFF = 6.0
"""Å."""
_STANDS_FOR = ("H", "Na", "Cu", "La", "Al", "C", "N", "O", "S", "F", "He")
"""Hydrogen, alkali and alkaline earth, transition, f and other metals, groups 14 and 15, oxygen,
the rest of group 16, halogens, noble gases."""
_RADIAL = [[2.0, 1.2 + 0.4 * number] for number in range(10)]
"""Exponent in Å⁻² and centre in Å of each radial function."""
_ANGULAR = [[0.03, zeta, sign] for zeta in (1.0, 4.0) for sign in (1.0, -1.0)]
"""Exponent in Å⁻², sharpness, and which end of the angle each angular function peaks at."""


class AcsfFeaturizer:
    """Radial and angular symmetry functions, from dscribe."""

    def __init__(self) -> None:
        self._functions = ACSF(
            species=list(_STANDS_FOR),
            periodic=True,
            r_cut=CUTOFF,
            g2_params=_RADIAL,
            g4_params=_ANGULAR,
        )
        self._family = {symbol: _family(Element(symbol)) for symbol in SYMBOLS}
        self._ref = FeaturizerRef(
            name="acsf",
            weights_sha256=None,
            options={
                "cutoff": CUTOFF,
                "families": ",".join(_STANDS_FOR),
                "radial": len(_RADIAL),
                "angular": len(_ANGULAR),
            },
            size=self._functions.get_number_of_features(),
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
        """Return the functions of all sites, shape ``(n_sites, ref.size)``."""
        atoms: Atoms = as_atoms(structure)
        atoms.symbols = [self._family[symbol] for symbol in atoms.symbols]
        functions: FloatArray = self._functions.create(atoms)
        return checked(functions, structure, "dscribe")


def _family(element: Element) -> str:
    """Return the symbol that stands for an element's family."""
    symbol = str(element.symbol)
    if symbol in ("H", "O"):
        return symbol
    f_metal = element.is_actinoid or (element.is_rare_earth and symbol not in ("Sc", "Y"))
    families = (
        (element.is_noble_gas, "He"),
        (element.is_halogen, "F"),
        (element.is_alkali or element.is_alkaline, "Na"),
        (f_metal, "La"),
        (element.is_transition_metal, "Cu"),
        (element.group == 16, "S"),
        (symbol in ("Al", "Ga", "In", "Tl", "Sn", "Pb", "Bi"), "Al"),
        (element.group == 15, "N"),
    )
    return next((stand_in for belongs, stand_in in families if belongs), "C")
