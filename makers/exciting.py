"""exciting: the spectrum of one absorbing site by the Bethe-Salpeter equation, all electrons."""

from __future__ import annotations

from dataclasses import dataclass

from nearedge.makers.simulation import SimulationMaker


@dataclass
class ExcitingMaker(SimulationMaker):
    """Compute one site's spectrum with exciting, by the user's own executable.

    Parameters are those of `SimulationMaker`; the protocols are in
    ``codes/exciting/protocols.yaml``, the command is the setting ``exciting_command``.
    """

    name: str = "exciting"
    code: str = "exciting"
