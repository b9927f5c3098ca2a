"""The files of a folder or archive, one at a time and never unpacked to disk.

Archives come from strangers: names that climb out, links, devices, members of any size and
decompression bombs are refused, and memory stays bounded.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Self, cast

from nearedge.errors import IngestError
from nearedge.structures.source import readable

Fraction = Callable[[float], None]
"""Called with the share of the input that has been read, 0 to 1."""

MAX_FILE_BYTES = 16 * 1024**2
"""Of one file, unless the caller says otherwise; an input or spectrum has some ten kB."""
MAX_HEADER_BYTES = 2**20
"""Of what a tar archive says about one member before its content: long names, extensions."""
_EXTENSIONS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
_SPARSE_GOES_ON = 482
"""Place in a GNU header that says whether its list of holes goes on in another block."""
_PARENTS_MAY_HOLD = frozenset({"POSCAR"})
MAX_MEMBERS = 5_000_000
LINK = "a link or device, not a plain file"
MAX_EXPANSION = 400
"""Text packs about 1:10; zeros pack 1:1000 (gzip) or 1:7000 (xz)."""
_FREE_EXPANSION = 1024**3
_BUFFER = 1 << 20
_DAMAGED = (
    EOFError,
    OSError,
    lzma.LZMAError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)


_OPENERS: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\xfd7zXZ": lambda raw: cast(IO[bytes], lzma.LZMAFile(raw)),  # noqa: SIM115 (the caller reads it)
    b"\x1f\x8b": lambda raw: cast(IO[bytes], gzip.GzipFile(fileobj=raw)),
    b"BZh": lambda raw: cast(IO[bytes], bz2.BZ2File(raw)),
}


class _Header(tarfile.TarInfo):
    """A member's header; tarfile holds what extends one in memory, so that has a limit too."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header, and refuse a bomb before its content is read."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENSIONS and header.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError("a name or header longer than any real one")
        if header.type == tarfile.GNUTYPE_SPARSE and buf[_SPARSE_GOES_ON]:
            raise tarfile.ReadError("a file with many holes")
        return header


@dataclass(frozen=True)
class Member:
    """A wanted file: where it is, and its content."""

    path: PurePosixPath
    content: bytes


@dataclass(frozen=True)
class BadMember:
    """A file, or the rest of an archive, that was refused, and why."""

    label: str
    reason: str


@dataclass(frozen=True)
class _Choice:
    """Which files are read: by name or pattern of the name, and up to which size."""

    names: frozenset[str]
    max_bytes: int
    patterns: tuple[str, ...] = ()
    read: frozenset[str] | None = None

    def reads(self, name: str) -> bool:
        return self.read is None or name in self.read

    def has(self, name: str) -> bool:
        return name in self.names or any(fnmatchcase(name, each) for each in self.patterns)

    def refusal(self, name: str, size: int, *, plain: bool) -> str | None:
        """Return why a wanted member of an archive is not read, or None."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            return "its name leads out of the archive"
        if not plain:
            return LINK
        return self.too_large(size)

    def too_large(self, size: int) -> str | None:
        return f"larger than {self.max_bytes >> 20} MiB" if size > self.max_bytes else None


def iter_members(
    path: Path,
    wanted: frozenset[str],
    progress: Fraction | None = None,
    *,
    max_bytes: int | None = None,
    read: frozenset[str] | None = None,
) -> Iterator[Member | BadMember]:
    """Yield the files whose name is in `wanted`, in the order in which they are stored.

    A damaged archive ends with a `BadMember`; what came before it stands.

    Parameters
    ----------
    path
        A folder or archive.
    wanted
        Names, or patterns of names as `fnmatch` has them.
    progress
        Called with the share of an archive that has been read.
    max_bytes
        Size up to which a file is read; default `MAX_FILE_BYTES`.
    read
        Names of those files whose content is read, of the rest only that they are there; None for
        all.

    Raises
    ------
    IngestError
        If `path` is neither a folder nor an archive (.tar, .tar.gz, .tar.bz2, .tar.xz, .zip).
    """
    choice = _Choice(
        wanted,
        MAX_FILE_BYTES if max_bytes is None else max_bytes,
        tuple(each for each in sorted(wanted) if set(each) & set("*?[")),
        read,
    )
    if path.is_dir():
        yield from _folder(path, choice)
        return
    if not path.is_file():
        raise IngestError(f"{path} does not exist, or is neither a file nor a folder.")
    if path.stat().st_size == 0:
        raise IngestError(f"{path.name} is empty.")
    with path.open("rb") as raw:
        if zipfile.is_zipfile(raw):
            opened = _zip(raw, choice, progress)
        elif (stream := _decompressed(raw)) is not None:
            opened = _tar(raw, stream, path.stat().st_size, choice, progress)
        else:
            raise IngestError(
                f"{path.name} is no folder and no archive that can be read (.tar, .tar.gz, "
                ".tar.bz2, .tar.xz, .zip)."
            )
        try:
            yield from opened
        except _DAMAGED as error:
            yield BadMember(
                path.name, f"the archive is damaged or cut short: {error or type(error).__name__}"
            )


def _folder(root: Path, choice: _Choice) -> Iterator[Member | BadMember]:
    """Walk `root`; files of a folder come before its subfolders. Links are not followed.

    Names begin up to three folders above, and a wanted file one or two above comes first: the root
    may be a calculation's own folder, with its material's name and POSCAR above it.
    """
    absolute = root.resolve()
    above = absolute.parents
    base = above[min(2, len(above) - 1)]
    for parent in reversed(above[:2]):
        for name in sorted(choice.names & _PARENTS_MAY_HOLD):
            if (parent / name).is_file():
                yield _read_file(parent / name, base, choice)
    for folder, subfolders, names in os.walk(absolute):
        subfolders.sort()
        for name in sorted(filter(choice.has, names)):
            yield _read_file(Path(folder) / name, base, choice)


def _read_file(file: Path, base: Path, choice: _Choice) -> Member | BadMember:
    label = PurePosixPath(readable(file.relative_to(base).as_posix()))
    try:
        if file.is_symlink() or not file.is_file():
            return BadMember(str(label), LINK)
        if reason := choice.too_large(file.stat().st_size):
            return BadMember(str(label), reason)
        return Member(label, file.read_bytes() if choice.reads(file.name) else b"")
    except OSError as error:
        return BadMember(str(label), f"cannot be read: {error.strerror}")


def _decompressed(raw: IO[bytes]) -> IO[bytes] | None:
    """Return the tar stream in `raw`, or None if it is none.

    tarfile's own decompression takes a cut stream for a complete one; these openers do not.
    """
    raw.seek(0)
    magic = raw.read(6)
    raw.seek(257)
    is_tar = raw.read(5) == b"ustar"
    raw.seek(0)
    if is_tar:
        return raw
    for sign, opener in _OPENERS.items():
        if magic.startswith(sign):
            return opener(raw)
    return None


def _tar(
    raw: IO[bytes],
    stream: IO[bytes],
    size: int,
    choice: _Choice,
    progress: Fraction | None,
) -> Iterator[Member | BadMember]:
    expanded = 0
    allowed = MAX_EXPANSION * size + _FREE_EXPANSION
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_BUFFER, tarinfo=_Header) as archive:
        count = 0
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it keeps every header
            count += 1
            expanded += member.size
            if count > MAX_MEMBERS or expanded > allowed:
                raise tarfile.ReadError("more members or bytes than any real archive has")
            if progress is not None and count % 64 == 0:
                progress(raw.tell() / size)
            if not choice.has(PurePosixPath(member.name).name):
                continue
            if reason := choice.refusal(member.name, member.size, plain=member.isreg()):
                yield BadMember(readable(member.name), reason)
            elif not choice.reads(PurePosixPath(member.name).name):
                yield Member(PurePosixPath(readable(member.name)), b"")
            elif (file := archive.extractfile(member)) is not None:
                content = file.read()
                if len(content) != member.size:
                    raise EOFError("it ends inside a file")
                yield Member(PurePosixPath(readable(member.name)), content)
    # tarfile also takes a missing end mark for the end.
    if stream is raw:
        raw.seek(max(0, size - 512))
        if raw.read().strip(b"\0"):
            raise EOFError("it has no end mark")


def _zip(
    raw: IO[bytes], choice: _Choice, progress: Fraction | None
) -> Iterator[Member | BadMember]:
    with zipfile.ZipFile(raw) as archive:
        entries = archive.infolist()
        for count, entry in enumerate(entries):
            if progress is not None and count % 64 == 0:
                progress(count / len(entries))
            if entry.is_dir() or not choice.has(PurePosixPath(entry.filename).name):
                continue
            # The upper half of external_attr is the Unix mode, where there is one.
            kind = entry.external_attr >> 28
            if reason := choice.refusal(entry.filename, entry.file_size, plain=kind in (0, 0o10)):
                yield BadMember(readable(entry.filename), reason)
                continue
            if not choice.reads(PurePosixPath(entry.filename).name):
                yield Member(PurePosixPath(readable(entry.filename)), b"")
                continue
            try:
                yield Member(PurePosixPath(readable(entry.filename)), archive.read(entry))
            except _DAMAGED as error:
                yield BadMember(readable(entry.filename), f"damaged: {error}")
