"""XSpectra of Quantum ESPRESSO: K edges by Lanczos recursion with a core-hole potential."""

from __future__ import annotations

from nearedge.codes.base import RoomCode
from nearedge.codes.xspectra.finished import iter_finished
from nearedge.codes.xspectra.inputs import EDGES, make_inputs
from nearedge.codes.xspectra.programs import availability, version
from nearedge.codes.xspectra.result import read_run
from nearedge.codes.xspectra.run import run_xspectra

__all__ = ["XSPECTRA"]

XSPECTRA = RoomCode(
    name="xspectra",
    title="XSpectra (Quantum ESPRESSO)",
    edges=EDGES,
    version=version,
    availability=availability,
    make_inputs=make_inputs,
    run=run_xspectra,
    read=read_run,
    finished=iter_finished,
)
