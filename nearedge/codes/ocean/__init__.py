"""OCEAN, by the user's own executable: Bethe-Salpeter equation of core levels on plane waves."""

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
from nearedge.codes.ocean.finished import iter_finished
from nearedge.codes.ocean.inputs import EDGES, make_inputs
from nearedge.codes.ocean.parse import read_folder
from nearedge.codes.ocean.run import OCEAN_PL, PROGRAM
from nearedge.codes.protocols import load_protocol

__all__ = ["OCEAN", "Ocean"]


class Ocean:
    """OCEAN as a `nearedge.codes.base.Code`."""

    name: str = "ocean"
    title: str = "OCEAN"
    edges: tuple[str, ...] = EDGES

    def version(self) -> str:
        """Return what the file ``Version`` beside the program says, as OCEAN itself reads it."""
        found = OCEAN_PL.path()
        if found is not None:
            try:
                words = (found.resolve().parent / "Version").read_text("utf-8").split()
            except (OSError, UnicodeDecodeError):
                words = []
            if words:
                return words[0]
        return UNKNOWN

    def availability(self) -> Availability:
        """Look for OCEAN's driver."""
        return OCEAN_PL.availability()

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
        """Run OCEAN; see `OneProgram`. It keeps nothing that another run could start from."""
        return PROGRAM.run(inputs, run_dir, stage_timeout=stage_timeout, progress=progress)

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


OCEAN = Ocean()
