"""Where a structure came from, and why one was refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core.structure import Structure


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
