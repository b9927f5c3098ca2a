"""Find the finished runs of a code in a folder or archive, the same way for every code.

A code's ``finished.py`` says which files mark a run, which it needs, and what a stranger's run is
of; the rest is here::

    def iter_finished(path, *, known=None, progress=None):
        return iter_run_folders(
            path,
            code="elk",
            read=read_folder,  # Code.read
            describe=describe,  # folder -> Described
            markers=("EPSILON_BSE_*.OUT",),
            wanted=("elk.in", "*.OUT", "*/elk.in"),
            known=known,
            progress=progress,
        )

A folder with a ``nearedge.json`` whose input files are unchanged needs no description: see
`nearedge.codes.sidecar`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pymatgen.core import Structure

from nearedge.codes.base import BadRun, CodeResult, FinishedRun, KnownRun
from nearedge.schemas.calculation import Parameter

CUSTOM = "custom"
"""Protocol of a run whose parameters are those of no protocol."""


@dataclass(frozen=True)
class Described:
    """What a stranger's run is of, as its files tell.

    Parameters
    ----------
    structure
        The exact crystal; of a supercell, the cell that ran.
    absorbing_index, edge
        The absorbing site in it, and the edge.
    parameters
        Under the names of `InputSet.parameters`, so that equal calculations get equal ids.
    protocol
        Label of the protocol whose parameters these are, or `CUSTOM`.
    inputs
        Input files, name to text.
    """

    structure: Structure
    absorbing_index: int
    edge: str
    parameters: dict[str, Parameter]
    protocol: str
    inputs: dict[str, str]


def iter_run_folders(
    path: Path,
    *,
    code: str,
    read: Callable[[Path], CodeResult],
    describe: Callable[[Path], Described],
    markers: Sequence[str],
    wanted: Sequence[str],
    known: Callable[[str], bool] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[FinishedRun | KnownRun | BadRun]:
    """Yield the finished runs of a code in a folder or archive, and what could not be read.

    A run's folder is one that directly holds a file that fits one of `markers`, or a
    ``nearedge.json`` of this code; what lies below the latter belongs to it. A folder is read where
    it is; an archive's run is unpacked into a temporary folder, `wanted` files only, within limits
    on size and number, and removed again.

    Parameters
    ----------
    path
        A folder, or a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip.
    code
        The code's name.
    read
        `Code.read`.
    describe
        Called with a run's folder that has no valid ``nearedge.json``; raises `IngestError` (or
        `CodeError`) with the reason where its files do not tell.
    markers
        Patterns (as `fnmatch` has them) of the names of files that mark a run's folder.
    wanted
        Patterns of all files that `read` and `describe` may look at, relative to the run's folder:
        ``*.out``, ``ES.out/absspct*`` (``*`` spans folders too).
    known, progress
        As in `Code.finished`. The fingerprint is of the wanted files' names and content.

    Raises
    ------
    IngestError
        If `path` is neither.
    """
    raise NotImplementedError
