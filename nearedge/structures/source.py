"""Where a structure came from, and why one was refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core.structure import Structure

_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\ufffd")


def readable(text: str) -> str:
    """Return text of unknown origin as it can be stored and printed.

    A file's name may hold bytes that are no text, which neither the database nor JSON takes, and
    control characters, which steer a terminal.
    """
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return whole.translate(_CONTROLS)


class SourceRef(BaseModel):
    """Where a structure came from."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["file", "materials_project", "builtin", "object"]
    label: str = Field(description="File name, Materials Project id or built-in name.")
    citation: str | None = None


@dataclass(frozen=True)
class LoadedStructure:
    """A structure that passed every check."""

    structure: Structure
    source: SourceRef


@dataclass(frozen=True)
class Refusal:
    """An input that gave no structure, with the one sentence that says why."""

    label: str
    reason: str
