"""Make the result of a finished run folder, mistrusting what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from nearedge.codes.base import CodeResult
from nearedge.codes.execution.stage import log_tail
from nearedge.codes.outputs import output_text
from nearedge.codes.xspectra.average import Polarised, assembled
from nearedge.codes.xspectra.decks import POLARISATIONS, SCF, Files
from nearedge.codes.xspectra.foreign import read_foreign
from nearedge.codes.xspectra.parse import (
    parse_energy_zero,
    parse_lanczos,
    parse_scf,
    parse_xanes,
    plotted_to,
)
from nearedge.errors import CodeError

_PLOT = re.compile(r"plot_(\d+)\.in")


class _Direction(BaseModel):
    model_config = ConfigDict(extra="forbid")

    direction: tuple[float, float, float]
    weight: float = Field(gt=0, le=1)


_DIRECTIONS = TypeAdapter(list[_Direction])


def numbered(names: Iterable[str]) -> list[Files]:
    """Return the polarisations that a run's input files have, in their order."""
    numbers = sorted(int(found.group(1)) for name in names if (found := _PLOT.fullmatch(name)))
    return [Files(number) for number in numbers]


def read_run(folder: Path) -> CodeResult:
    """Read a folder that `run_xspectra` has run in, or one of the same layout.

    Raises
    ------
    CodeError
        What is missing or wrong, by name; see `nearedge.codes.xspectra.parse`. Also
        ``missing_polarisation``, and ``output_foreign`` for outputs of different runs.
    """
    try:
        return _result(folder)
    except CodeError as error:
        logs = [f"{SCF}.out"] + [
            name for files in _present(folder) for name in (files.lanczos_log, files.plot_log)
        ]
        tail = error.log_tail or log_tail(folder, *logs)
        raise CodeError(error.name, error.message, tail) from None


def _present(folder: Path) -> list[Files]:
    return numbered(path.name for path in folder.glob("plot_*.in"))


def _result(folder: Path) -> CodeResult:
    if not (folder / POLARISATIONS).is_file():
        return read_foreign(folder)
    directions = _directions(folder)
    log = output_text(folder / f"{SCF}.out")
    scf = parse_scf(log)
    runs = [Files(number) for number in range(1, len(directions) + 1)]
    polarised = [
        _polarised(folder, files, each) for files, each in zip(runs, directions, strict=True)
    ]
    return replace(assembled(scf, log, polarised), restart=_restart(folder, runs))


def _directions(folder: Path) -> list[_Direction]:
    try:
        directions = _DIRECTIONS.validate_json(output_text(folder / POLARISATIONS))
    except ValidationError as error:
        raise CodeError(
            "output_foreign", f"{POLARISATIONS} is damaged: {error.errors()[0]['msg']}."
        ) from None
    if not directions or abs(sum(each.weight for each in directions) - 1) > 1e-6:
        raise CodeError("output_foreign", f"The weights in {POLARISATIONS} do not add up to one.")
    return directions


def _polarised(folder: Path, files: Files, polarisation: _Direction) -> Polarised:
    for name in (files.lanczos_log, files.chain, files.plot_log, files.spectrum):
        if not (folder / name).is_file():
            raise CodeError("missing_polarisation", f"Polarisation {files.number} has no {name}.")
    lanczos = parse_lanczos(output_text(folder / files.lanczos_log), files.lanczos_log)
    if lanczos.direction is not None and not np.allclose(
        lanczos.direction, polarisation.direction, atol=1e-5
    ):
        raise CodeError(
            "output_foreign",
            f"{files.lanczos_log} is of polarisation {lanczos.direction}, not of "
            f"{polarisation.direction}.",
        )
    log = output_text(folder / files.plot_log)
    zero = parse_energy_zero(log, files.plot_log)
    table = parse_xanes(output_text(folder / files.spectrum), files.spectrum, plotted_to(log))
    return Polarised(polarisation.weight, zero, table, lanczos)


def _restart(folder: Path, runs: list[Files]) -> dict[str, bytes]:
    """Return the chains, and the logs that say how they were made."""
    names = [f"{SCF}.out"]
    names += [name for files in runs for name in (files.chain, files.lanczos_log)]
    return {name: (folder / name).read_bytes() for name in names}
