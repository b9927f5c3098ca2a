"""FEFF 10, through the wheel feff10-rs: real-space multiple scattering, XANES of K and L edges."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from pymatgen.core import Structure

from nearedge.codes.base import CodeResult, InputSet, Progress
from nearedge.codes.feff.failures import EDGES
from nearedge.codes.feff.inputs import make_inputs
from nearedge.codes.feff.run import run_feff
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
        return f"{FEFF_VERSION} (feff10-rs {version('feff10-rs')})"

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
    ) -> CodeResult:
        """Run FEFF; see `run_feff`."""
        return run_feff(inputs, run_dir, stage_timeout=stage_timeout, progress=progress)


FEFF = Feff()
