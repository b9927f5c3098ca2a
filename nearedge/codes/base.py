"""The recipe that every code follows: input set, run, result or named failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol as Interface

from pymatgen.core import Structure

from nearedge.codes.protocols import Protocol, load_protocol
from nearedge.schemas.calculation import Parameter
from nearedge.schemas.spectrum import Broadening, EnergyReference
from nearedge.spectra.spectrum import Spectrum

Progress = Callable[[str], None]
"""Called with the name of each stage as it starts."""
UNKNOWN = "unknown"
"""Version of a program that does not tell it."""


@dataclass(frozen=True)
class InputSet:
    """Everything that a run reads, and the physical parameters that identify it.

    Parameters
    ----------
    code, code_version, protocol
        Names; the protocol's with its version and changes, as `Protocol.label` has it.
    files
        Name to text.
    parameters
        What the calculation's id is made from. Nothing that follows from the structure belongs
        here (a k-mesh, a supercell): equal protocols give equal parameters.
    restart_key
        One value for all input sets on this site whose expensive part gives the same, so that one's
        `CodeResult.restart` serves another (XSpectra: all but the broadening); None where nothing
        can be used again.
    by_hand
        Lines of a shell script that does in a folder of `files` what `Code.run` does, for those who
        run the code elsewhere.
    """

    code: str
    code_version: str
    protocol: str
    files: dict[str, str]
    parameters: dict[str, Parameter]
    restart_key: str | None = None
    by_hand: tuple[str, ...] = ()


@dataclass(frozen=True)
class CodeResult:
    """What a successful run gave.

    `restart` holds small files by name from which `Code.run` gets another spectrum of the same
    `InputSet.restart_key` without the expensive part. `code_version` is what the output itself
    says, or None where it does not.
    """

    spectrum: Spectrum
    energy_reference: EnergyReference
    broadening: list[Broadening]
    results: dict[str, Parameter] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    attempts: int = 1
    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    restart: dict[str, bytes] = field(default_factory=dict)
    code_version: str | None = None


@dataclass(frozen=True)
class Availability:
    """Whether a code can run on this machine.

    Parameters
    ----------
    found
        Whether everything that a run starts is there.
    detail
        Version and place, or what is missing.
    remedy
        How to get it; empty where it is found.
    """

    found: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class FinishedRun:
    """A finished calculation; `fingerprint` is the hash of its files."""

    label: str
    fingerprint: str
    structure: Structure
    structure_label: str
    absorbing_index: int
    absorber: str
    edge: str
    parameters: dict[str, Parameter]
    protocol: str
    code_version: str
    inputs: dict[str, str]
    result: CodeResult


@dataclass(frozen=True)
class KnownRun:
    """A calculation whose files were recognised by their hash and not read again."""

    label: str
    fingerprint: str


@dataclass(frozen=True)
class BadRun:
    """Files that give no calculation, with the reason."""

    label: str
    reason: str


class Code(Interface):
    """A simulation code.

    Parameters
    ----------
    name
        As in ``--code``; also the name of its folder under ``nearedge/codes``.
    title
        What people call it.
    edges
        Those it can compute.
    """

    name: str
    title: str
    edges: tuple[str, ...]

    def version(self) -> str:
        """Return the version that goes into a calculation's id, or ``unknown``."""

    def availability(self) -> Availability:
        """Look whether the code can run here, by the commands that the settings name."""

    def inputs(
        self, structure: Structure, absorbing_index: int, edge: str, protocol: str
    ) -> InputSet:
        """Make the input set.

        Parameters
        ----------
        protocol
            Name or label, changes included, as `load_protocol` takes it:
            ``fast@1+fms_radius=5``.

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
        restart: Mapping[str, bytes] | None = None,
    ) -> CodeResult:
        """Run in `run_dir`, which must be empty or absent.

        Parameters
        ----------
        stage_timeout
            Seconds that one stage may take.
        restart
            `CodeResult.restart` of a calculation with the same `InputSet.restart_key`: the
            expensive part is left out. Where it is damaged, a failure says so that
            `nearedge.codes.outputs.speaks_of_damage` knows.

        Raises
        ------
        CodeError
            A named failure of the calculation: running it again gives the same.
        ResourceError
            The machine is at fault: run it again.
        """

    def read(self, folder: Path) -> CodeResult:
        """Read what a run left in `folder`, inputs included, and mistrust it.

        Raises
        ------
        CodeError
            A named failure.
        """

    def finished(
        self,
        path: Path,
        *,
        known: Callable[[str], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[FinishedRun | KnownRun | BadRun]:
        """Yield the finished calculations of this code in a folder or archive.

        Parameters
        ----------
        path
            A folder, or a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip.
        known
            Asked with each calculation's fingerprint; True passes it by as a `KnownRun`.
        progress
            Called with the share of an archive that has been read.

        Raises
        ------
        IngestError
            If `path` is neither.
        """


class MakeInputs(Interface):
    """A room's ``make_inputs``: `Code.inputs` with the protocol read, and the code's version."""

    def __call__(
        self,
        structure: Structure,
        absorbing_index: int,
        edge: str,
        protocol: Protocol,
        code_version: str,
    ) -> InputSet:
        """Make the input set of one absorbing site."""


class RunInputs(Interface):
    """A room's ``run_<code>``: see `Code.run`."""

    def __call__(
        self,
        inputs: InputSet,
        run_dir: Path,
        *,
        stage_timeout: float,
        progress: Progress | None = None,
        restart: Mapping[str, bytes] | None = None,
    ) -> CodeResult:
        """Run in `run_dir`."""


class IterFinished(Interface):
    """A room's ``iter_finished``: see `Code.finished`."""

    def __call__(
        self,
        path: Path,
        *,
        known: Callable[[str], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[FinishedRun | KnownRun | BadRun]:
        """Yield the finished calculations of this code in a folder or archive."""


@dataclass
class RoomCode:
    """A `Code` from what its room has; see there for what each does."""

    name: str
    title: str
    edges: tuple[str, ...]
    version: Callable[[], str]
    availability: Callable[[], Availability]
    make_inputs: MakeInputs
    run: RunInputs
    read: Callable[[Path], CodeResult]
    finished: IterFinished

    def inputs(
        self, structure: Structure, absorbing_index: int, edge: str, protocol: str
    ) -> InputSet:
        """Make the input set; see `Code.inputs`."""
        return self.make_inputs(
            structure, absorbing_index, edge, load_protocol(self.name, protocol), self.version()
        )
