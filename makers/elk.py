"""Elk: the spectrum of one absorbing site by the Bethe-Salpeter equation, all electrons."""

from __future__ import annotations

from dataclasses import dataclass

from nearedge.makers.simulation import SimulationMaker


@dataclass
class ElkMaker(SimulationMaker):
    """Compute one site's K edge with Elk's BSE.

    Parameters are those of `SimulationMaker`; the protocols are in ``codes/elk/protocols.yaml``.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> rock_salt = Structure.from_spacegroup(
    ...     "Fm-3m", Lattice.cubic(4.18), ["Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ... )
    >>> ElkMaker(protocol="fast", project="demo").make(rock_salt, 0).name
    'Elk'
    """

    name: str = "Elk"
    code: str = "elk"
