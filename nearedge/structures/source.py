"""Where a structure came from, and why one was refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pymatgen.core.structure import Structure

COMPRESSED = (".gz", ".bz2", ".xz")
"""Endings that are looked through to a file's own."""

# Files whose name says nothing: the folder they are in tells which structure it is.
_NAMELESS = ("poscar", "contcar", "structure", "feff")
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\ufffd")


def readable(text: str) -> str:
    """Return text of unknown origin as it can be stored and printed.

    A file's name may hold bytes that are no text, which neither the database nor JSON takes, and
    control characters, which steer a terminal.
    """
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return whole.translate(_CONTROLS)


def name_parts(path: PurePath) -> tuple[str, ...]:
    """Return what a file is called by: its folders, and its name without ending if that says much.

    The last is a short name: of ``a/anatase.cif.gz`` it is ``anatase``, of ``mp-390/POSCAR``
    ``mp-390``.
    """
    name = path.name
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    folders = path.parts[1:-1] if path.is_absolute() else path.parts[:-1]
    stem = PurePath(name).stem
    return folders if folders and stem.lower() in _NAMELESS else (*folders, stem)


class SourceRef(BaseModel):
    """Where a structure came from."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["file", "materials_project", "builtin", "object"]
    label: str = Field(description="Short name: a file's, a Materials Project id, a built-in's.")
    citation: str | None = None
    path: str | None = Field(default=None, description="Of a file, as it was given.")

    @model_validator(mode="before")
    @classmethod
    def _label_from_path(cls, given: Any) -> Any:
        """Read documents and queued jobs from the time when a file's label was its path."""
        if isinstance(given, dict) and given.get("kind") == "file" and not given.get("path"):
            label = given.get("label")
            if isinstance(label, str) and "/" in label:
                return {**given, "label": name_parts(PurePath(label))[-1], "path": label}
        return given

    @property
    def given_as(self) -> str:
        """What the user typed: the path of a file, and the label of all else."""
        return self.path or self.label


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
