"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nearedge.errors import OutputError


def refuse_folder(target: Path) -> None:
    """Refuse a folder where a file is to be written; before long work, not only after it.

    Raises
    ------
    OutputError
        If `target` is a folder.
    """
    if target.is_dir():
        raise OutputError(f"{target} is a folder: name a file to write.")


@contextlib.contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` that takes its place once it is written.

    A link is followed, and stays one. A device or a pipe, such as ``/dev/stdout``, is no file whose
    place can be taken: it gets the content.

    Raises
    ------
    OutputError
        If the folder does not exist or cannot be written; `target` is then as it was.
    """
    refuse_folder(target)
    if target.exists() and not target.is_file():
        with _written_through(target) as draft:
            yield draft
        return
    with sentences(target):
        target = target.resolve()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(handle)
        draft = Path(name)
        try:
            yield draft
            # mkstemp makes files that only their owner may read.
            draft.chmod(0o666 & ~_umask())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _written_through(device: Path) -> Iterator[Path]:
    """Yield a path elsewhere whose content goes into `device` once it is written."""
    with sentences(device), tempfile.TemporaryDirectory() as elsewhere:
        draft = Path(elsewhere, "draft")
        yield draft
        with draft.open("rb") as content, device.open("wb") as into:
            shutil.copyfileobj(content, into)


@contextlib.contextmanager
def folder_written_whole(target: Path) -> Iterator[Path]:
    """Yield an empty folder whose files move into `target` once all of them are written.

    Raises
    ------
    OutputError
        If `target` is a file, or cannot be made or written; nothing was added to it then.
    """
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is a file: name a folder to write to.")
    with sentences(target):
        draft = Path(tempfile.mkdtemp(dir=_existing_parent(target), prefix=f".{target.name}."))
        try:
            yield draft
            target.mkdir(parents=True, exist_ok=True)
            for file in sorted(draft.iterdir()):
                file.chmod(0o666 & ~_umask())
                file.replace(target / file.name)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.is_dir())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def sentences(target: Path) -> Iterator[None]:
    """Turn what the system says about writing `target` into an error of ours."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror or error}. Choose another --output."
        ) from error
