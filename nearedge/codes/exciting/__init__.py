"""exciting, by the user's own executable: Bethe-Salpeter equation in LAPW, all electrons."""

from __future__ import annotations

from nearedge.codes.base import RoomCode
from nearedge.codes.exciting.finished import iter_finished
from nearedge.codes.exciting.inputs import EDGES, make_inputs
from nearedge.codes.exciting.parse import read_folder
from nearedge.codes.exciting.run import exciting_availability, exciting_version, run_exciting

__all__ = ["EXCITING"]

EXCITING = RoomCode(
    name="exciting",
    title="exciting",
    edges=EDGES,
    version=exciting_version,
    availability=exciting_availability,
    make_inputs=make_inputs,
    run=run_exciting,
    read=read_folder,
    finished=iter_finished,
)
