"""exciting, by the user's own executable: Bethe-Salpeter equation in LAPW, all electrons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pymatgen.core import Structure

from nearedge.codes.base import (
    UNKNOWN,
    Availability,
    BadRun,
    CodeResult,
    FinishedRun,
    InputSet,
    KnownRun,
    Progress,
)
from nearedge.codes.exciting.finished import iter_finished
from nearedge.codes.exciting.inputs import EDGES, make_inputs
from nearedge.codes.exciting.parse import read_folder
from nearedge.codes.exciting.run import exciting_availability, run_exciting
from nearedge.codes.protocols import load_protocol

__all__ = ["EXCITING", "Exciting"]


class Exciting:
    """exciting as a `nearedge.codes.base.Code`."""

    name: str = "exciting"
    title: str = "exciting"
    edges: tuple[str, ...] = EDGES

    def version(self) -> str:
        """Return ``unknown``: exciting names its version in its output alone."""
        return UNKNOWN

    def availability(self) -> Availability:
        """Look for the program and for its species files."""
        return exciting_availability()

    def inputs(
        self, structure: Structure, absorbing_index: int, edge: str, protocol: str
    ) -> InputSet:
        """Make the input set of one absorbing site; see `make_inputs`."""
        return make_inputs(
            structure, absorbing_index, edge, load_protocol(self.name, protocol), self.version()
        )

    def run(
        self,
        inputs: InputSet,
        run_dir: Path,
        *,
        stage_timeout: float,
        progress: Progress | None = None,
        restart: Mapping[str, bytes] | None = None,
    ) -> CodeResult:
        """Run exciting; see `run_exciting`. It keeps nothing that another run could start from."""
        return run_exciting(inputs, run_dir, stage_timeout=stage_timeout, progress=progress)

    def read(self, folder: Path) -> CodeResult:
        """Read a finished run's folder; see `read_folder`."""
        return read_folder(folder)

    def finished(
        self,
        path: Path,
        *,
        known: Callable[[str], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[FinishedRun | KnownRun | BadRun]:
        """Yield the finished calculations under `path`; see `iter_finished`."""
        return iter_finished(path, self.inputs, known=known, progress=progress)


EXCITING = Exciting()
