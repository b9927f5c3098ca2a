"""VASP, by the user's own executable and licence: core holes in supercells."""

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
from nearedge.codes.vasp.finished import iter_finished
from nearedge.codes.vasp.inputs import EDGES, make_inputs
from nearedge.codes.vasp.parse import read_folder
from nearedge.codes.vasp.run import run_vasp, vasp_availability, vasp_version

__all__ = ["VASP", "Vasp"]


class Vasp:
    """VASP as a `nearedge.codes.base.Code`."""

    name: str = "vasp"
    title: str = "VASP"
    edges: tuple[str, ...] = EDGES

    def version(self) -> str:
        """Return the version that the program's file holds; see `vasp_version`."""
        return vasp_version()

    def availability(self) -> Availability:
        """Look for the program and for its potentials."""
        return vasp_availability()

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
        """Run VASP; see `run_vasp`. It keeps nothing that another run could start from."""
        return run_vasp(inputs, run_dir, stage_timeout=stage_timeout, progress=progress)

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


VASP = Vasp()
