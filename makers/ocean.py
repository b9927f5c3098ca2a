"""OCEAN: the spectrum of one absorbing site by the Bethe-Salpeter equation on plane waves."""

from __future__ import annotations

from dataclasses import dataclass

from nearedge.makers.simulation import SimulationMaker


@dataclass
class OceanMaker(SimulationMaker):
    """Compute one site's spectrum with OCEAN, by the user's own executable.

    Parameters are those of `SimulationMaker`; the protocols are in
    ``codes/ocean/protocols.yaml``, the command is the setting ``ocean_command``.
    """

    name: str = "OCEAN"
    code: str = "ocean"
