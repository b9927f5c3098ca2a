"""GPAW: the K edge of one absorbing site from PAW states around its core hole."""

from __future__ import annotations

from dataclasses import dataclass

from nearedge.makers.simulation import SimulationMaker


@dataclass
class GpawMaker(SimulationMaker):
    """Compute one site's spectrum with GPAW, under the Python that it is installed in.

    Parameters are those of `SimulationMaker`; the protocols are in ``codes/gpaw/protocols.yaml``.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> rock_salt = Structure.from_spacegroup(
    ...     "Fm-3m", Lattice.cubic(4.18), ["Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ... )
    >>> GpawMaker(protocol="fast", project="demo").make(rock_salt, 0).name
    'GPAW'
    """

    name: str = "GPAW"
    code: str = "gpaw"
