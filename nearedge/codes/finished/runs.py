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
`nearedge.codes.finished.sidecar`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from pymatgen.core import Structure

from nearedge.codes.base import UNKNOWN, BadRun, CodeResult, FinishedRun, KnownRun
from nearedge.codes.finished.folders import FoundRun, iter_found
from nearedge.codes.finished.sidecar import SIDECAR, Sidecar, parse_sidecar
from nearedge.errors import NearEdgeError
from nearedge.schemas.calculation import Parameter
from nearedge.structures.identity import structure_key

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
    reader = _Reader(code, read, describe, known)
    seen = False
    for found in iter_found(path, code, tuple(markers), tuple(wanted), progress):
        seen = True
        yield found if isinstance(found, BadRun) else reader.take(found)
    if not seen:
        yield BadRun(path.name, f"holds no folder with {' or '.join(markers)}")


class _Reader:
    """Reads one run after the other; runs on one structure share it."""

    def __init__(
        self,
        code: str,
        read: Callable[[Path], CodeResult],
        describe: Callable[[Path], Described],
        known: Callable[[str], bool] | None,
    ) -> None:
        self._code = code
        self._read = read
        self._describe = describe
        self._known = known
        self._structures: OrderedDict[str, Structure] = OrderedDict()

    def take(self, found: FoundRun) -> FinishedRun | KnownRun | BadRun:
        """Read one run."""
        try:
            fingerprint = self._fingerprint(found)
            if self._known is not None and self._known(fingerprint):
                return KnownRun(found.label, fingerprint)
            run = self._finished(found)
        except NearEdgeError as error:
            return BadRun(found.label, str(error))
        except (ValueError, LookupError, ArithmeticError, OSError, TypeError) as error:
            # Strangers' files: what no check foresaw costs one calculation, not the archive.
            return BadRun(found.label, f"cannot be understood ({type(error).__name__}: {error})")
        return replace(run, fingerprint=fingerprint)

    def _finished(self, found: FoundRun) -> FinishedRun:
        sidecar = None
        changed = False
        if SIDECAR in found.files:
            sidecar = parse_sidecar((found.folder / SIDECAR).read_bytes())
            if changed := not sidecar.fits(found.content):
                sidecar = None
        described = self._describe(found.folder) if sidecar is None else _told(sidecar, found)
        result = self._read(found.folder)
        version = result.code_version
        if sidecar is not None and sidecar.code_version is not None:
            version = sidecar.code_version
        if changed:
            note = f"The input files are not those that {SIDECAR} was written for."
            result = replace(result, warnings=[*result.warnings, note])
        structure = self._shared(described.structure)
        return FinishedRun(
            label=found.label,
            fingerprint="",
            structure=structure,
            structure_label=found.name if sidecar is None else sidecar.label,
            absorbing_index=described.absorbing_index,
            absorber=structure[described.absorbing_index].specie.symbol,
            edge=described.edge,
            parameters=described.parameters,
            protocol=described.protocol,
            code_version=version or UNKNOWN,
            inputs=described.inputs,
            result=result,
        )

    def _shared(self, structure: Structure) -> Structure:
        """Return the object that runs on this very structure share: ingest groups by it."""
        key = structure_key(structure)
        shared = self._structures.setdefault(key, structure)
        if len(self._structures) > 64:
            self._structures.popitem(last=False)
        return shared

    def _fingerprint(self, found: FoundRun) -> str:
        digest = sha256(f"{self._code}:".encode())
        for name in sorted(found.files):
            content = (found.folder / name).read_bytes()
            digest.update(f"{len(name)}:{name}:{len(content)}:".encode())
            digest.update(content)
        return digest.hexdigest()[:32]


def _told(sidecar: Sidecar, found: FoundRun) -> Described:
    """Describe a run by its ``nearedge.json``."""
    texts = {name: (found.folder / name).read_text(encoding="utf-8") for name in sidecar.files}
    return Described(
        structure=sidecar.structure,
        absorbing_index=sidecar.absorbing_index,
        edge=sidecar.edge,
        parameters=sidecar.parameters,
        protocol=sidecar.protocol,
        inputs=texts,
    )
