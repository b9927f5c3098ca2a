"""Reference energies: what the published M3GNet weights must compute, checked at every load.

Energies are those of the weights that OmniXAS used (arXiv:2409.19552), in eV per atom, for cells
near the relaxed ones of the Materials Project (PBE). With messages summed at the wrong end of the
edges, the three compounds come out at -2.772, -4.989 and -3.616.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.errors import WeightsError

TOLERANCE = 3e-3
"""eV per atom: above what rounding of the references and of float32 gives, far below any defect."""


@dataclass(frozen=True)
class ReferenceEnergy:
    """A crystal and the energy per atom in eV that the published weights give it.

    The cells are written out: finding them from the space group takes longer than the check.
    """

    name: str
    lattice: Lattice
    species: tuple[str, ...]
    positions: tuple[tuple[float, float, float], ...]
    energy: float

    def structure(self) -> Structure:
        """Return the primitive cell."""
        return Structure(self.lattice, list(self.species), [list(p) for p in self.positions])


def _face_centred(a: float) -> Lattice:
    return Lattice([[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]])


def _rutile(u: float) -> tuple[tuple[float, float, float], ...]:
    return (
        (0, 0, 0),
        (0.5, 0.5, 0.5),
        (u, u, 0),
        (1 - u, 1 - u, 0),
        (0.5 + u, 0.5 - u, 0.5),
        (0.5 - u, 0.5 + u, 0.5),
    )


_ROCK_SALT = ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5))

M3GNET_MP_2021_2_8 = (
    ReferenceEnergy("NaCl", _face_centred(5.692), ("Na", "Cl"), _ROCK_SALT, -3.388),
    ReferenceEnergy(
        "rutile TiO2",
        Lattice.tetragonal(4.653, 2.969),
        ("Ti", "Ti", "O", "O", "O", "O"),
        _rutile(0.305),
        -9.019,
    ),
    ReferenceEnergy("MgO", _face_centred(4.256), ("Mg", "O"), _ROCK_SALT, -6.082),
    ReferenceEnergy("Cu", _face_centred(3.621), ("Cu",), _ROCK_SALT[:1], -4.083),
)


def check_energies(energy_per_atom: Callable[[Structure], float], origin: str) -> None:
    """Refuse weights that do not reproduce the published energies.

    Raises
    ------
    WeightsError
        Naming the first compound that comes out wrong. NaN is wrong.
    """
    for reference in M3GNET_MP_2021_2_8:
        found = energy_per_atom(reference.structure())
        if not abs(found - reference.energy) <= TOLERANCE:
            raise WeightsError(
                f"The M3GNet weights in {origin} give {reference.name} {found:.3f} eV/atom where "
                f"the published model gives {reference.energy:.3f}: they are damaged or another "
                "model's. Use the weights of M3GNet-MP-2021.2.8-PES that OmniXAS published, or "
                "choose `--featurizer chgnet`."
            )
