"""XSpectra of Quantum ESPRESSO: K edges by Lanczos recursion with a core-hole potential."""

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
from nearedge.codes.protocols import load_protocol
from nearedge.codes.xspectra.finished import iter_finished
from nearedge.codes.xspectra.inputs import EDGES, make_inputs
from nearedge.codes.xspectra.programs import availability, version
from nearedge.codes.xspectra.result import read_run
from nearedge.codes.xspectra.run import run_xspectra

__all__ = ["XSPECTRA", "XSpectra"]


class XSpectra:
    """XSpectra as a `nearedge.codes.base.Code`."""

    name: str = "xspectra"
    title: str = "XSpectra (Quantum ESPRESSO)"
    edges: tuple[str, ...] = EDGES

    def version(self) -> str:
        """Return the version that pw.x and xspectra.x print, such as ``6.7MaX``."""
        return version()

    def availability(self) -> Availability:
        """Look for pw.x, xspectra.x and, without a user's own potentials, ld1.x."""
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
        """Run pw.x and xspectra.x, or with `restart` the latter's plotting alone."""
        return run_xspectra(
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


XSPECTRA = XSpectra()
