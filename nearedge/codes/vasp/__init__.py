"""VASP, by the user's own executable and licence: core holes in supercells."""

from __future__ import annotations

from nearedge.codes.base import RoomCode
from nearedge.codes.vasp.finished import iter_finished
from nearedge.codes.vasp.inputs import EDGES, make_inputs
from nearedge.codes.vasp.parse import read_folder
from nearedge.codes.vasp.run import run_vasp, vasp_availability, vasp_version

__all__ = ["VASP"]

VASP = RoomCode(
    name="vasp",
    title="VASP",
    edges=EDGES,
    version=vasp_version,
    availability=vasp_availability,
    make_inputs=make_inputs,
    run=run_vasp,
    read=read_folder,
    finished=iter_finished,
)
