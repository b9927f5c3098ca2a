"""FEFF 10, through the wheel feff10-rs: real-space multiple scattering, XANES of K and L edges."""

from __future__ import annotations

from nearedge.codes.base import RoomCode
from nearedge.codes.feff.failures import EDGES
from nearedge.codes.feff.finished import iter_finished
from nearedge.codes.feff.inputs import make_inputs
from nearedge.codes.feff.run import feff_availability, feff_version, read_folder, run_feff

__all__ = ["FEFF"]

FEFF = RoomCode(
    name="feff",
    title="FEFF 10",
    edges=EDGES,
    version=feff_version,
    availability=feff_availability,
    make_inputs=make_inputs,
    run=run_feff,
    read=read_folder,
    finished=iter_finished,
)
