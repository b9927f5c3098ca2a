"""The recipe that every code follows: input set, run, result or named failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol as Interface

from pymatgen.core import Structure

from nearedge.schemas.calculation import Parameter
from nearedge.schemas.spectrum import Broadening, EnergyReference
from nearedge.spectra.spectrum import Spectrum

Progress = Callable[[str], None]
"""Called with the name of each stage as it starts."""


@dataclass(frozen=True)
class InputSet:
    """Everything that a run reads, and the physical parameters that identify it."""

    code: str
    code_version: str
    protocol: str
    files: dict[str, str]
    parameters: dict[str, Parameter]


@dataclass(frozen=True)
class CodeResult:
    """What a successful run gave."""

    spectrum: Spectrum
    energy_reference: EnergyReference
    broadening: list[Broadening]
    results: dict[str, Parameter] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    attempts: int = 1
    wall_seconds: float | None = None
    cpu_seconds: float | None = None


class Code(Interface):
    """A simulation code."""

    name: str
    edges: tuple[str, ...]

    def version(self) -> str:
        """Return the version that goes into a calculation's id."""

    def inputs(
        self, structure: Structure, absorbing_index: int, edge: str, protocol: str
    ) -> InputSet:
        """Make the input set.

        Raises
        ------
        InputRefused
            If the code would fail on it, or silently compute something else.
        """

    def run(
        self,
        inputs: InputSet,
        run_dir: Path,
        *,
        stage_timeout: float,
        progress: Progress | None = None,
    ) -> CodeResult:
        """Run in `run_dir`, which must be empty or absent.

        Raises
        ------
        CodeError
            A named failure of the calculation: running it again gives the same.
        ResourceError
            The machine is at fault: run it again.
        """
