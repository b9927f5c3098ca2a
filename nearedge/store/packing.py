"""How a document is laid out in the database: large fields go to blobs, and come back unseen."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import TypeVar

import numpy as np
from pydantic import ValidationError

from nearedge.errors import SchemaError
from nearedge.schemas.dataset import DatasetDoc
from nearedge.schemas.document import SCHEMA_VERSION, Document
from nearedge.schemas.structure import StructureDoc
from nearedge.store.blobs import PREFIX, BlobStore, blob_id
from nearedge.store.operations import Document as Stored

D = TypeVar("D", bound=Document)

CHEMSYS = "chemsys"
"""Stored beside ``elements``, such as O-Ti: an index finds exactly these elements by it."""
ARRAY_LIMIT = 8192
"""Numbers (64 kB) up to which an array stays in its document."""
TEXT_LIMIT = 4096
"""Characters up to which an input file stays in its document."""
LIST_LIMIT = 500
"""Sites of a structure, or rows of a data set, up to which they stay in their document."""


def _sites(document: Document) -> int:
    return document.nsites if isinstance(document, StructureDoc) else 0


def _rows(document: Document) -> int:
    return len(document.rows) if isinstance(document, DatasetDoc) else 0


_ARRAYS = {"spectra": ("energy", "absorption")}
_TEXTS = {"calculations": ("inputs",)}
_FILES = {"calculations": ("restart",)}
"""Bytes of files by name: always blobs, and fetched only by who asks for them."""
_BASE64 = "base64:"
_TREES: dict[str, tuple[tuple[str, Callable[[Document], int]], ...]] = {
    "structures": (("structure", _sites),),
    "datasets": (
        ("rows", _rows),
        ("split", _rows),
    ),
}


def pack(document: Document) -> tuple[Stored, dict[str, bytes]]:
    """Return the document as stored, and the blobs that must be stored before it."""
    stored: Stored = {
        key: value.value if isinstance(value, Enum) else value
        for key, value in document.to_mongo().items()
    }
    if "elements" in stored:
        stored[CHEMSYS] = "-".join(sorted(stored["elements"]))
    blobs: dict[str, bytes] = {}

    def to_blob(content: bytes) -> str:
        identifier = blob_id(content)
        blobs[identifier] = content
        return PREFIX + identifier

    for field in _ARRAYS.get(document.collection, ()):
        if len(stored[field]) > ARRAY_LIMIT:
            stored[field] = to_blob(np.asarray(stored[field], dtype="<f8").tobytes())
    for field in _TEXTS.get(document.collection, ()):
        # A list of pairs, because the name of a file may hold a dot, which a key must not.
        stored[field] = [
            [name, to_blob(text.encode()) if len(text) > TEXT_LIMIT else text]
            for name, text in stored[field].items()
        ]
    for field in _FILES.get(document.collection, ()):
        stored[field] = [
            [
                name,
                to_blob(b64decode(held.removeprefix(_BASE64)))
                if held.startswith(_BASE64)
                else held,
            ]
            for name, held in stored[field].items()
        ]
    for field, length in _TREES.get(document.collection, ()):
        if length(document) > LIST_LIMIT:
            stored[field] = to_blob(json.dumps(stored[field]).encode())
    return stored, blobs


def held_files(contents: Mapping[str, bytes]) -> dict[str, str]:
    """Return the bytes of files by name in the form in which a document holds them."""
    return {name: _BASE64 + b64encode(held).decode() for name, held in contents.items()}


def unpack(
    cls: type[D], found: Iterable[Stored], blobs: BlobStore, *, texts: bool = True
) -> list[D]:
    """Return stored documents as they were recorded, fetching the blobs of all of them at once.

    Parameters
    ----------
    cls
        Their class.
    found
        As they stand in the database.
    blobs
        Where their large fields are.
    texts
        Whether to fetch input files too; otherwise their texts stay ``blob:<sha256>``.

    Raises
    ------
    SchemaError
        If one is of another schema version or does not fit its class.
    """
    documents = [checked_version(cls, dict(stored)) for stored in found]
    references = {
        r for stored in documents for r in _references(cls.collection, stored, texts=texts)
    }
    contents = blobs.get_many(references)
    for stored in documents:
        _restore(cls.collection, stored, contents)
    try:
        return [cls.from_mongo(stored) for stored in documents]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise SchemaError(
            f"A stored document of {cls.collection} does not fit schema version {SCHEMA_VERSION}: "
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}."
        ) from None


def checked_version(cls: type[Document], stored: Stored) -> Stored:
    """Return `stored` if it is of this release's schema.

    Raises
    ------
    SchemaError
        If it is older or newer, saying what to do.
    """
    version = stored.get("schema_version", 0)
    if version == SCHEMA_VERSION:
        return stored
    what = f"{cls.collection} document {stored.get('_id')!r} has schema version {version}"
    if isinstance(version, int) and version < SCHEMA_VERSION:
        raise SchemaError(f"The {what}: run `nearedge up`, which migrates the database.")
    raise SchemaError(f"The {what}, this NearEdge knows {SCHEMA_VERSION}: install a newer one.")


def _references(collection: str, stored: Stored, *, texts: bool) -> list[str]:
    fields = [*_ARRAYS.get(collection, ()), *(name for name, _ in _TREES.get(collection, ()))]
    values = [stored.get(field) for field in fields]
    if texts:
        values += [
            text for field in _TEXTS.get(collection, ()) for _, text in stored.get(field, ())
        ]
    return [reference for value in values if (reference := _reference(value)) is not None]


def all_references(collection: str, stored: Stored) -> list[str]:
    """Return the ids of all blobs that a stored document (or a projection of it) names."""
    files = [
        reference
        for field in _FILES.get(collection, ())
        for _, held in stored.get(field, ())
        if (reference := _reference(held)) is not None
    ]
    return _references(collection, stored, texts=True) + files


def large_fields(collection: str) -> list[str]:
    """Return the fields of a collection that may name blobs."""
    trees = [name for name, _ in _TREES.get(collection, ())]
    files = _FILES.get(collection, ())
    return [*_ARRAYS.get(collection, ()), *_TEXTS.get(collection, ()), *files, *trees]


def _restore(collection: str, stored: Stored, contents: Mapping[str, bytes]) -> None:
    stored.pop(CHEMSYS, None)
    for field in _ARRAYS.get(collection, ()):
        reference = _reference(stored[field])
        if reference is not None:
            stored[field] = np.frombuffer(contents[reference], dtype="<f8").tolist()
    for field in _TEXTS.get(collection, ()):
        stored[field] = {name: _text(text, contents) for name, text in stored.get(field, ())}
    for field in _FILES.get(collection, ()):
        # Not there in documents of releases before there was such a field.
        stored[field] = dict(stored.get(field, ()))
    for field, _ in _TREES.get(collection, ()):
        reference = _reference(stored[field])
        if reference is not None:
            stored[field] = json.loads(contents[reference])


def _text(text: str, contents: Mapping[str, bytes]) -> str:
    reference = _reference(text)
    if reference is None or reference not in contents:
        return text
    return contents[reference].decode()


def _reference(value: object) -> str | None:
    if isinstance(value, str) and value.startswith(PREFIX):
        return value.removeprefix(PREFIX)
    return None
