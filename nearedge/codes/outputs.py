"""Text files that a run left, as they are or compressed on their own (.gz, .bz2, .xz)."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from nearedge.errors import CodeError

MAX_BYTES = 512 * 1024**2
"""Of one file's text; VASP's OUTCAR of a large cell has some hundred MB."""

_OPENERS: dict[str, Callable[[Path], IO[bytes]]] = {
    "": lambda path: path.open("rb"),
    ".gz": lambda path: cast(IO[bytes], gzip.GzipFile(path)),
    ".bz2": lambda path: cast(IO[bytes], bz2.BZ2File(path)),
    ".xz": lambda path: cast(IO[bytes], lzma.LZMAFile(path)),  # noqa: SIM115
}
SUFFIXES = tuple(_OPENERS)
_DAMAGE = {"fermi_level_missing", "missing_polarisation", "restart_damaged", "xspectra_stopped"}
"""Failures that a damaged file can look like, beside ``output_*``."""


def output_text(path: Path) -> str:
    """Return the text of a file that a run must have left.

    Raises
    ------
    CodeError
        ``output_missing`` or ``output_empty``.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise CodeError("output_missing", f"The run left no {path.name}.") from None
    if not text.strip():
        raise CodeError("output_empty", f"{path.name} is empty.")
    return text


def text_if_there(path: Path) -> str:
    """Return the text of a file that a run may have left, nothing where it did not."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def packed_input(folder: Path, name: str) -> str:
    """Return the text of the input that a finished run must have kept.

    Raises
    ------
    CodeError
        ``input_missing``, or what `read_packed` raises.
    """
    path = find_packed(folder, name)
    if path is None:
        raise CodeError("input_missing", f"There is no {name} beside the spectra: add it.")
    return read_packed(path)


def speaks_of_damage(error: CodeError) -> bool:
    """Return whether a failure is one of the files that were read, not of the calculation."""
    return error.name.startswith("output_") or error.name in _DAMAGE


def find_packed(folder: Path, name: str) -> Path | None:
    """Return the file called `name` in `folder`, plain or compressed, or None."""
    candidates = (folder / f"{name}{suffix}" for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def unpacked_name(path: Path) -> str:
    """Return a file's name without the suffix of its compression."""
    return path.stem if path.suffix and path.suffix in SUFFIXES else path.name


def read_packed(path: Path) -> str:
    """Return the text of a file, decompressed if its suffix says so.

    Raises
    ------
    CodeError
        ``output_truncated`` if the compressed stream is damaged, ``output_missing`` if the file
        cannot be read, ``output_foreign`` if it is larger than any real one.
    """
    opener = _OPENERS.get(path.suffix, _OPENERS[""])
    try:
        with opener(path) as file:
            content = file.read(MAX_BYTES + 1)
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise CodeError(
            "output_truncated",
            f"{path.name} is damaged or cut short ({error or type(error).__name__}).",
        ) from None
    except OSError as error:
        if path.suffix == ".bz2" and error.errno is None:  # bz2's word for damaged data
            raise CodeError("output_truncated", f"{path.name} is damaged ({error}).") from None
        raise CodeError(
            "output_missing", f"{path.name} cannot be read ({error.strerror or error})."
        ) from None
    if len(content) > MAX_BYTES:
        raise CodeError(
            "output_foreign", f"{path.name} is larger than {MAX_BYTES >> 20} MiB: no such output."
        )
    return content.decode("utf-8", "replace")
