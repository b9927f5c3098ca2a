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
from pathlib import Path, PurePosixPath
from typing import IO, Self, cast

from nearedge.errors import IngestError
from nearedge.structures.source import readable

Fraction = Callable[[float], None]
"""Called with the share of the input that has been read, 0 to 1."""

MAX_FILE_BYTES = 16 * 1024**2
"""Of one feff.inp, xmu.dat or POSCAR; real ones have some ten kB."""
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
MAX_EXPANSION = 400
"""Text of FEFF packs about 1:10; zeros pack 1:1000 (gzip) or 1:7000 (xz)."""
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


def iter_members(
    path: Path, wanted: frozenset[str], progress: Fraction | None = None
) -> Iterator[Member | BadMember]:
    """Yield the files whose name is in `wanted`, in the order in which they are stored.

    A damaged archive ends with a `BadMember`; what came before it stands.

    Raises
    ------
    IngestError
        If `path` is neither a folder nor an archive (.tar, .tar.gz, .tar.bz2, .tar.xz, .zip).
    """
    if path.is_dir():
        yield from _folder(path, wanted)
        return
    if not path.is_file():
        raise IngestError(f"{path} does not exist, or is neither a file nor a folder.")
    if path.stat().st_size == 0:
        raise IngestError(f"{path.name} is empty.")
    with path.open("rb") as raw:
        if zipfile.is_zipfile(raw):
            opened = _zip(raw, wanted, progress)
        elif (stream := _decompressed(raw)) is not None:
            opened = _tar(raw, stream, path.stat().st_size, wanted, progress)
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


def _folder(root: Path, wanted: frozenset[str]) -> Iterator[Member | BadMember]:
    """Walk `root`; files of a folder come before its subfolders. Links are not followed.

    Names begin up to three folders above, and a wanted file one or two above comes first: the root
    may be a calculation's own folder, with its material's name and POSCAR above it.
    """
    absolute = root.resolve()
    above = absolute.parents
    base = above[min(2, len(above) - 1)]
    for parent in reversed(above[:2]):
        for name in sorted(wanted.intersection(_PARENTS_MAY_HOLD)):
            if (parent / name).is_file():
                yield _read_file(parent / name, base)
    for folder, subfolders, names in os.walk(absolute):
        subfolders.sort()
        for name in sorted(wanted.intersection(names)):
            yield _read_file(Path(folder) / name, base)


def _read_file(file: Path, base: Path) -> Member | BadMember:
    label = PurePosixPath(readable(file.relative_to(base).as_posix()))
    try:
        if file.is_symlink() or not file.is_file():
            return BadMember(str(label), "a link or device, not a plain file")
        if file.stat().st_size > MAX_FILE_BYTES:
            return BadMember(str(label), f"larger than {MAX_FILE_BYTES >> 20} MiB")
        return Member(label, file.read_bytes())
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
    wanted: frozenset[str],
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
            if PurePosixPath(member.name).name not in wanted:
                continue
            if reason := _refusal(member.name, member.size, plain=member.isreg()):
                yield BadMember(readable(member.name), reason)
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
    raw: IO[bytes], wanted: frozenset[str], progress: Fraction | None
) -> Iterator[Member | BadMember]:
    with zipfile.ZipFile(raw) as archive:
        entries = archive.infolist()
        for count, entry in enumerate(entries):
            if progress is not None and count % 64 == 0:
                progress(count / len(entries))
            if entry.is_dir() or PurePosixPath(entry.filename).name not in wanted:
                continue
            # The upper half of external_attr is the Unix mode, where there is one.
            kind = entry.external_attr >> 28
            if reason := _refusal(entry.filename, entry.file_size, plain=kind in (0, 0o10)):
                yield BadMember(readable(entry.filename), reason)
                continue
            try:
                yield Member(PurePosixPath(readable(entry.filename)), archive.read(entry))
            except _DAMAGED as error:
                yield BadMember(readable(entry.filename), f"damaged: {error}")


def _refusal(name: str, size: int, *, plain: bool) -> str | None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        return "its name leads out of the archive"
    if not plain:
        return "a link or device, not a plain file"
    if size > MAX_FILE_BYTES:
        return f"larger than {MAX_FILE_BYTES >> 20} MiB"
    return None
