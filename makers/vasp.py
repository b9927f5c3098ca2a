"""VASP: the spectrum of one absorbing site with a core hole in a supercell."""

from __future__ import annotations

from dataclasses import dataclass

from nearedge.makers.simulation import SimulationMaker


@dataclass
class VaspMaker(SimulationMaker):
    """Compute one site's spectrum with VASP, by the user's own executable.

    Parameters are those of `SimulationMaker`; the protocols are in
    ``codes/vasp/protocols.yaml``, the command is the setting ``vasp_command``.
    """

    name: str = "VASP"
    code: str = "vasp"
