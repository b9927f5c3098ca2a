"""Elk: Bethe-Salpeter equation in LAPW, all electrons, the absorber's 1s as a local orbital."""

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
from nearedge.codes.elk.finished import iter_finished
from nearedge.codes.elk.inputs import EDGES, make_inputs
from nearedge.codes.elk.parse import read_folder
from nearedge.codes.elk.run import elk_availability, elk_version, run_elk
from nearedge.codes.protocols import load_protocol
from nearedge.settings import get_settings

__all__ = ["ELK", "Elk"]


class Elk:
    """Elk as a `nearedge.codes.base.Code`."""

    name: str = "elk"
    title: str = "Elk (BSE)"
    edges: tuple[str, ...] = EDGES

    def version(self) -> str:
        """Return the version that the binary prints, or ``unknown``."""
        return elk_version()

    def availability(self) -> Availability:
        """Look for the program and for its species files."""
        return elk_availability()

    def inputs(
        self, structure: Structure, absorbing_index: int, edge: str, protocol: str
    ) -> InputSet:
        """Make the input set of one absorbing site; see `make_inputs`."""
        return make_inputs(
            structure,
            absorbing_index,
            edge,
            load_protocol(self.name, protocol),
            self.version(),
            get_settings().elk_species_path,
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
        """Run Elk; see `run_elk`."""
        return run_elk(
            inputs, run_dir, stage_timeout=stage_timeout, progress=progress, restart=restart
        )

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
        return iter_finished(path, known=known, progress=progress)


ELK = Elk()
