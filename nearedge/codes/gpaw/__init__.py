"""GPAW: K edges of a core-hole calculation with PAW, by the Python that GPAW is installed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pymatgen.core import Structure

from nearedge.codes.base import (
    Availability,
    BadRun,
    CodeResult,
    FinishedRun,
    InputSet,
    KnownRun,
    Progress,
)
from nearedge.codes.gpaw.failures import EDGES
from nearedge.codes.gpaw.finished import iter_finished
from nearedge.codes.gpaw.inputs import make_inputs
from nearedge.codes.gpaw.programs import availability, installed
from nearedge.codes.gpaw.result import read_run
from nearedge.codes.gpaw.run import run_gpaw
from nearedge.codes.protocols import load_protocol

__all__ = ["GPAW", "Gpaw"]


class Gpaw:
    """GPAW as a `nearedge.codes.base.Code`."""

    name: str = "gpaw"
    title: str = "GPAW"
    edges: tuple[str, ...] = EDGES

    def version(self) -> str:
        """Return the version that GPAW tells, such as ``22.8.0``."""
        return installed().version

    def availability(self) -> Availability:
        """Look for the Python of the settings, GPAW in it, and its setups."""
        return availability()

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
        """Run GPAW, or with `restart` broaden its states anew; see `run_gpaw`."""
        return run_gpaw(
            inputs, run_dir, stage_timeout=stage_timeout, progress=progress, restart=restart
        )

    def read(self, folder: Path) -> CodeResult:
        """Read a finished run folder; see `read_run`."""
        return read_run(folder)

    def finished(
        self,
        path: Path,
        *,
        known: Callable[[str], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[FinishedRun | KnownRun | BadRun]:
        """Yield the finished calculations of a folder or archive; see `iter_finished`."""
        return iter_finished(path, known=known, progress=progress)


GPAW = Gpaw()
