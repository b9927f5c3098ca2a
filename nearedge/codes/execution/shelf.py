"""Files that a program makes once: kept in a folder of the cache, whole or not at all.

The folder, a shelf, is named by the hash of what its files were made from. Several processes may
make the same at once; the first that is done puts it there.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import JsonValue

from nearedge.codes.execution.stage import disk_errors, write_files

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Kept:
    """Files by name, and the notes that were put on the shelf with them."""

    files: dict[str, bytes]
    notes: dict[str, JsonValue]


def kept(shelf: Path) -> Kept | None:
    """Return what is on a shelf, or None where nothing is, or not what was put there."""
    try:
        notes = json.loads((shelf / MANIFEST).read_bytes())
        digests = notes.pop("files")
        files = {name: (shelf / name).read_bytes() for name in digests}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    whole = all(sha256(files[name]).hexdigest() == digest for name, digest in digests.items())
    return Kept(files, notes) if whole else None


@contextmanager
def draft(shelf: Path) -> Iterator[Path]:
    """Give an empty folder beside the shelf, for work; nothing of it is left afterwards.

    Raises
    ------
    ResourceError
        If it cannot be made.
    """
    with disk_errors():
        shelf.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(
            dir=shelf.parent, prefix=f".{shelf.name}.", ignore_cleanup_errors=True
        )
    with folder as name:
        yield Path(name)


def put(shelf: Path, files: Mapping[str, bytes], notes: Mapping[str, JsonValue]) -> None:
    """Put files on a shelf in one step; what another process has just put there is as good.

    Raises
    ------
    ResourceError
        If the cache cannot be written.
    """
    digests = {name: sha256(content).hexdigest() for name, content in files.items()}
    manifest = json.dumps({**notes, "files": digests}, indent=1) + "\n"
    with draft(shelf) as folder:
        whole = folder / "whole"
        write_files(whole, {**files, MANIFEST: manifest})
        for _ in range(2):
            with suppress(OSError):
                whole.rename(shelf)
                return
            if kept(shelf) is not None:
                return
            with disk_errors(), draft(shelf) as old, suppress(FileNotFoundError):
                shelf.rename(old / "damaged")
        with disk_errors():
            whole.rename(shelf)
