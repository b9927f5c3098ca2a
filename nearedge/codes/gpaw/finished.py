"""Find finished GPAW runs: those of NearEdge's own runner, wherever it ran."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from nearedge.codes.finished.runs import CUSTOM, Described, iter_run_folders
from nearedge.codes.gpaw.parse import parse_plan
from nearedge.codes.gpaw.result import parse_asked, read_run
from nearedge.codes.gpaw.runner_files import FAILURE, INPUT, PLAN, SCRIPT, STICKS
from nearedge.errors import IngestError
from nearedge.schemas.calculation import Parameter, ParameterValue

_UNITS = {"cutoff": "eV", "smearing": "eV", "charge": "e"}
_NAMES = ("xc", "setup", "charge", "cutoff", "scf_mesh", "spectrum_mesh", "smearing", "empty_bands")


def describe(folder: Path) -> Described:
    """Tell from ``gpaw.json`` what was computed, where no ``nearedge.json`` does.

    The structure is then the cell that ran, and the parameters are of no protocol: meshes and bands
    as they were, without the density or the distance that they came from.

    Raises
    ------
    IngestError
        If the inputs are not there.
    """
    texts = {}
    for name in (INPUT, PLAN):
        try:
            texts[name] = (folder / name).read_text(encoding="utf-8")
        except OSError:
            raise IngestError(
                f"{STICKS} has no {name} beside it, which says what it is of."
            ) from None
    plan = parse_plan(texts[PLAN])
    asked = json.loads(texts[INPUT])
    values: dict[str, ParameterValue] = {name: asked[name] for name in _NAMES}
    parameters = {name: Parameter(value=values[name], unit=_UNITS.get(name)) for name in values}
    for name in ("lorentzian_width", "e_min", "e_max", "e_step"):
        parameters[name] = Parameter(value=getattr(plan, name), unit="eV")
    return Described(
        structure=parse_asked(texts[INPUT]).cell,
        absorbing_index=0,
        edge=plan.edge,
        parameters=parameters,
        protocol=CUSTOM,
        inputs=texts,
    )


iter_finished = partial(
    iter_run_folders,
    code="gpaw",
    read=read_run,
    describe=describe,
    markers=(STICKS, FAILURE),
    wanted=(INPUT, PLAN, SCRIPT, STICKS, FAILURE),
)
"""`Code.finished` of this code."""
