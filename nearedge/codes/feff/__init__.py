"""FEFF 10, through the wheel feff10-rs: real-space multiple scattering, XANES of K and L edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
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
from nearedge.codes.feff.failures import EDGES
from nearedge.codes.feff.finished import iter_finished
from nearedge.codes.feff.inputs import make_inputs
from nearedge.codes.feff.run import read_folder, run_feff
from nearedge.codes.protocols import load_protocol

__all__ = ["FEFF", "Feff"]

FEFF_VERSION = "10.0.0"
"""What feff10-rs 0.2.4 writes into its output."""


class Feff:
    """FEFF 10 as a `nearedge.codes.base.Code`."""

    name: str = "feff"
    title: str = "FEFF 10"
    edges: tuple[str, ...] = EDGES

    def version(self) -> str:
        """Return FEFF's version and the wheel's."""
        try:
            return f"{FEFF_VERSION} (feff10-rs {version('feff10-rs')})"
        except PackageNotFoundError:
            return UNKNOWN

    def availability(self) -> Availability:
        """Look for the wheel, which brings the programs with it."""
        try:
            return Availability(True, f"feff10-rs {version('feff10-rs')}")
        except PackageNotFoundError:
            return Availability(False, "feff10-rs is not installed", "pip install feff10-rs")

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
        """Run FEFF; see `run_feff`. Nothing of a run can be used again, so none has a `restart`."""
        return run_feff(inputs, run_dir, stage_timeout=stage_timeout, progress=progress)

    def read(self, folder: Path) -> CodeResult:
        """Read a finished run; see `read_folder`."""
        return read_folder(folder)

    def finished(
        self,
        path: Path,
        *,
        known: Callable[[str], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[FinishedRun | KnownRun | BadRun]:
        """Yield finished calculations; see `nearedge.codes.feff.finished`."""
        return iter_finished(path, known=known, progress=progress)


FEFF = Feff()
