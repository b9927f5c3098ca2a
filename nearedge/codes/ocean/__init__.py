"""OCEAN, by the user's own executable: Bethe-Salpeter equation of core levels on plane waves."""

from __future__ import annotations

from nearedge.codes.base import RoomCode
from nearedge.codes.ocean.finished import iter_finished
from nearedge.codes.ocean.inputs import EDGES, make_inputs
from nearedge.codes.ocean.parse import read_folder
from nearedge.codes.ocean.run import OCEAN_PL, ocean_version, run_ocean

__all__ = ["OCEAN"]

OCEAN = RoomCode(
    name="ocean",
    title="OCEAN",
    edges=EDGES,
    version=ocean_version,
    availability=OCEAN_PL.availability,
    make_inputs=make_inputs,
    run=run_ocean,
    read=read_folder,
    finished=iter_finished,
)
