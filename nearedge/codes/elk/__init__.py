"""Elk: Bethe-Salpeter equation in LAPW, all electrons, the absorber's 1s as a local orbital."""

from __future__ import annotations

from nearedge.codes.base import RoomCode
from nearedge.codes.elk.finished import iter_finished
from nearedge.codes.elk.inputs import EDGES, make_inputs
from nearedge.codes.elk.parse import read_folder
from nearedge.codes.elk.run import elk_availability, elk_version, run_elk

__all__ = ["ELK"]

ELK = RoomCode(
    name="elk",
    title="Elk (BSE)",
    edges=EDGES,
    version=elk_version,
    availability=elk_availability,
    make_inputs=make_inputs,
    run=run_elk,
    read=read_folder,
    finished=iter_finished,
)
