"""Where the runs of a code are in a folder or archive; those of an archive are unpacked one by one.

See `nearedge.codes.finished.runs.iter_run_folders`, which reads them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from nearedge.codes.base import BadRun
from nearedge.codes.finished.members import LINK, BadMember, Member, iter_members
from nearedge.codes.finished.sidecar import SIDECAR, parse_sidecar
from nearedge.errors import IngestError
from nearedge.structures.source import readable

MAX_FILES = 1_000_000
"""Of a folder or archive."""
MAX_RUN_FILES = 1000
MAX_RUN_BYTES = 1024**3
MAX_FILE_BYTES = 256 * 1024**2
"""A long run's log; a spectrum has some ten kB."""
MAX_HELD_BYTES = 4 * 1024**3
"""Of runs that wait for their last file."""
_EVERY = frozenset({"*"})


@dataclass(frozen=True)
class FoundRun:
    """A run whose files lie in `folder`; `files` are those that may be looked at."""

    folder: Path
    label: str
    name: str
    files: frozenset[str]

    def content(self, name: str) -> bytes | None:
        """Return the bytes of one of `files`, or None."""
        return (self.folder / name).read_bytes() if name in self.files else None


@dataclass
class _Place:
    """A run in a listing of names; `awaited` shrinks as an archive is read."""

    root: PurePosixPath
    files: set[str] = field(default_factory=set)
    awaited: set[str] = field(default_factory=set)
    folder: Path | None = None
    bytes_held: int = 0

    @property
    def label(self) -> str:
        return readable("/".join(self.root.parts[-3:]))

    def found(self, folder: Path) -> FoundRun:
        return FoundRun(folder, self.label, readable(self.root.name), frozenset(self.files))


def iter_found(
    path: Path,
    code: str,
    markers: tuple[str, ...],
    wanted: tuple[str, ...],
    progress: Callable[[float], None] | None = None,
) -> Iterator[FoundRun | BadRun]:
    """Yield the runs of a code; an archive's stay on disk until the next is asked for.

    Raises
    ------
    IngestError
        If `path` is neither folder nor archive, or holds more than `MAX_FILES`.
    """
    if path.is_dir():
        yield from _in_folder(path.resolve(), code, markers, wanted)
    else:
        yield from _in_archive(path, code, markers, wanted, progress)


def _in_folder(
    path: Path, code: str, markers: tuple[str, ...], wanted: tuple[str, ...]
) -> Iterator[FoundRun | BadRun]:
    # Names begin above, so that a run's own folder has one, and what holds it.
    base = path.parents[min(1, len(path.parents) - 1)]
    names: list[PurePosixPath] = []
    told: dict[PurePosixPath, frozenset[str] | None] = {}
    for folder, subfolders, files in os.walk(path):
        subfolders.sort()
        here = PurePosixPath(Path(folder).relative_to(base).as_posix())
        names.extend(here / name for name in sorted(files))
        _refuse_too_many(names)
        if SIDECAR in files and (content := _small(Path(folder) / SIDECAR)) is not None:
            told[here] = _named_by(content, code)
    for place in _places(names, told, markers, wanted).values():
        folder_of_run = base / place.root
        if reason := _unfit(folder_of_run, place.files):
            yield BadRun(place.label, reason)
        else:
            yield place.found(folder_of_run)


def _unfit(folder: Path, files: set[str]) -> str:
    """Return why a run's files are not read, or nothing."""
    if len(files) > MAX_RUN_FILES:
        return f"has more than {MAX_RUN_FILES} files"
    total = 0
    for name in sorted(files):
        file = folder / name
        if file.is_symlink() or not file.is_file():
            return f"{name} is {LINK}"
        total += file.stat().st_size
    return f"is larger than {MAX_RUN_BYTES >> 20} MiB" if total > MAX_RUN_BYTES else ""


def _small(file: Path) -> bytes | None:
    plain = not file.is_symlink() and file.is_file()
    return file.read_bytes() if plain and file.stat().st_size <= MAX_FILE_BYTES else None


def _in_archive(
    path: Path,
    code: str,
    markers: tuple[str, ...],
    wanted: tuple[str, ...],
    progress: Callable[[float], None] | None,
) -> Iterator[FoundRun | BadRun]:
    """Read the names through, then unpack what belongs to a run, and yield it when complete."""
    names: list[PurePosixPath] = []
    told: dict[PurePosixPath, frozenset[str] | None] = {}
    patterns = tuple(pattern.rpartition("/")[2] for pattern in (*wanted, *markers, SIDECAR))
    refused: set[str] = set()
    for member in iter_members(path, _EVERY, max_bytes=MAX_FILE_BYTES, read=frozenset({SIDECAR})):
        if isinstance(member, Member):
            names.append(member.path)
            _refuse_too_many(names)
            if member.path.name == SIDECAR:
                told[member.path.parent] = _named_by(member.content, code)
        elif member.label == path.name or _fits(PurePosixPath(member.label).name, patterns):
            refused.add(member.label)
            yield BadRun(member.label, member.reason)
    places = _places(names, told, markers, wanted)
    owners = {place.root / name: place for place in places.values() for name in place.files}
    basenames = frozenset(each.name for each in owners)
    with tempfile.TemporaryDirectory(prefix="nearedge-ingest-") as scratch:
        unpacking = _Unpacking(Path(scratch))
        for member in iter_members(path, basenames, progress, max_bytes=MAX_FILE_BYTES):
            if isinstance(member, BadMember):
                if member.label not in refused:
                    yield BadRun(member.label, member.reason)
            elif (place := owners.get(member.path)) is not None:
                yield from unpacking.take(place, member)
        for place in places.values():
            if place.awaited:
                yield from unpacking.incomplete(place)


class _Unpacking:
    """Runs of an archive on their way to the disk."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._held = 0
        self._count = 0

    def take(self, place: _Place, member: Member) -> Iterator[FoundRun | BadRun]:
        """Unpack a file; yield its run when it was the last."""
        name = str(member.path.relative_to(place.root))
        if name not in place.awaited:  # stored twice, or of a run that was given up
            return
        if place.folder is None:
            self._count += 1
            place.folder = self._scratch / str(self._count)
        place.awaited.remove(name)
        place.bytes_held += len(member.content)
        self._held += len(member.content)
        target = place.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(member.content)
        if reason := self._too_much(place):
            yield BadRun(place.label, reason)
            self._remove(place)
            place.awaited.clear()
        elif not place.awaited:
            yield place.found(place.folder)
            self._remove(place)

    def incomplete(self, place: _Place) -> Iterator[FoundRun | BadRun]:
        """Yield a run of which a file was refused, or lay behind the damage."""
        place.files -= place.awaited
        if place.folder is not None:
            yield place.found(place.folder)
            self._remove(place)

    def _too_much(self, place: _Place) -> str:
        if len(place.files) > MAX_RUN_FILES:
            return f"has more than {MAX_RUN_FILES} files"
        if place.bytes_held > MAX_RUN_BYTES:
            return f"is larger than {MAX_RUN_BYTES >> 20} MiB"
        if self._held > MAX_HELD_BYTES:
            return "its files are too far apart in the archive: unpack it and ingest the folder"
        return ""

    def _remove(self, place: _Place) -> None:
        self._held -= place.bytes_held
        if place.folder is not None:
            shutil.rmtree(place.folder, ignore_errors=True)


def _places(
    names: Sequence[PurePosixPath],
    told: Mapping[PurePosixPath, frozenset[str] | None],
    markers: tuple[str, ...],
    wanted: tuple[str, ...],
) -> dict[PurePosixPath, _Place]:
    """Return the runs by folder, each with those of its files that may be looked at."""
    marked = {each.parent for each in names if _fits(each.name, markers)}
    places: dict[PurePosixPath, _Place] = {}
    roots: dict[PurePosixPath, PurePosixPath | None] = {}
    for name in names:
        folder = name.parent
        if folder not in roots:
            roots[folder] = _root_of(folder, told, marked)
        root = roots[folder]
        if root is None:
            continue
        inner = str(name.relative_to(root))
        of_sidecar = told.get(root) or frozenset()
        if inner == SIDECAR or inner in of_sidecar or _fits(inner, (*wanted, *markers)):
            places.setdefault(root, _Place(root)).files.add(inner)
    for place in places.values():
        place.awaited = set(place.files)
    return places


def _root_of(
    folder: PurePosixPath,
    told: Mapping[PurePosixPath, frozenset[str] | None],
    marked: set[PurePosixPath],
) -> PurePosixPath | None:
    """Return the run that a folder belongs to: the outermost with a sidecar, or the nearest."""
    line = (folder, *folder.parents)
    for each in reversed(line):
        if each in told and told[each] is None:
            return None
        if each in told and (told[each] or each in marked):
            return each
    return next((each for each in line if each in marked), None)


def _named_by(sidecar: bytes, code: str) -> frozenset[str] | None:
    """Return the input files that a sidecar names: none of a damaged one, None of another code.

    Asked at once of every sidecar: an archive may have a million, too many to hold.
    """
    try:
        read = parse_sidecar(sidecar)
    except IngestError:
        return frozenset()
    return frozenset(read.files) if read.code == code else None


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _refuse_too_many(names: Sequence[PurePosixPath]) -> None:
    if len(names) > MAX_FILES:
        raise IngestError(f"There are more than {MAX_FILES} files: ingest parts of them.")
