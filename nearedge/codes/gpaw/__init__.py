"""GPAW: K edges of a core-hole calculation with PAW, by the Python that GPAW is installed in."""

from __future__ import annotations

from nearedge.codes.base import RoomCode
from nearedge.codes.gpaw.failures import EDGES
from nearedge.codes.gpaw.finished import iter_finished
from nearedge.codes.gpaw.inputs import make_inputs
from nearedge.codes.gpaw.programs import availability, gpaw_version
from nearedge.codes.gpaw.result import read_run
from nearedge.codes.gpaw.run import run_gpaw

__all__ = ["GPAW"]

GPAW = RoomCode(
    name="gpaw",
    title="GPAW",
    edges=EDGES,
    version=gpaw_version,
    availability=availability,
    make_inputs=make_inputs,
    run=run_gpaw,
    read=read_run,
    finished=iter_finished,
)
