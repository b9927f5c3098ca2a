"""What all documents share: a schema version, an id, and hashes of content."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
"""Version of every document written by this release; see `nearedge.store.migrations`."""


def as_utc(stored: datetime | str) -> datetime:
    """Return a moment with its zone: databases give it without, FireWorks as ISO text too."""
    moment = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def content_hash(content: object) -> str:
    """Return the first 32 hex digits of the SHA-256 of `content` as canonical JSON.

    Floats are written with 12 significant digits, so that an id does not hang on the last bit of a
    sum; NaN and infinities are refused.
    """
    text = json.dumps(
        _canonical(content),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _canonical(content: object) -> object:
    if isinstance(content, bool | None | int | str):
        return content
    if isinstance(content, float):
        return float(f"{content:.12g}") + 0.0  # + 0.0 turns -0.0 into 0.0
    if isinstance(content, dict):
        return {str(key): _canonical(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_canonical(value) for value in content]
    raise TypeError(f"{type(content).__name__} has no canonical JSON form")


def utc_now() -> datetime:
    """Return the time now in UTC, to the millisecond that BSON keeps."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class Document(BaseModel):
    """A document of the store. Its `_id` in the database is the value of its `id_field`."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, ser_json_inf_nan="null")

    collection: ClassVar[str]
    id_field: ClassVar[str]

    schema_version: int = SCHEMA_VERSION
    created_at: datetime = Field(default_factory=utc_now)

    @property
    def document_id(self) -> str:
        """The value stored as `_id`."""
        return str(getattr(self, self.id_field))

    def to_mongo(self) -> dict[str, object]:
        """Return the document as stored."""
        return {"_id": self.document_id, **self.model_dump(mode="python", exclude={self.id_field})}

    @classmethod
    def from_mongo(cls, stored: dict[str, object]) -> Self:
        """Read a stored document of the current schema version."""
        fields = dict(stored)
        fields[cls.id_field] = fields.pop("_id")
        return cls.model_validate(fields)
