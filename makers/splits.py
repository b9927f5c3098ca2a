"""Dividing a data set's rows into parts, whole materials at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nearedge.errors import DatasetError
from nearedge.schemas.dataset import DatasetRow


class Split(BaseModel):
    """How rows are divided.

    ``all`` puts every row into ``train``; ``random`` draws materials for ``val`` and ``test``;
    ``labels`` takes the rows named, such as ``mp-1234_003``, and leaves out all others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["all", "random", "labels"] = "all"
    validation: float = Field(0.1, ge=0, lt=1, description="Share of the materials, random only.")
    test: float = Field(0.1, ge=0, lt=1, description="Share of the materials, random only.")
    seed: int = 0
    labels: dict[str, list[str]] = Field(
        default_factory=dict, description="Part to row labels, labels only."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave nothing to train on")
        if (self.kind == "labels") != bool(self.labels):
            raise ValueError("labels go with the kind `labels`, and only with it")
        return self

    @classmethod
    def from_files(cls, files: dict[str, Path]) -> Self:
        """Read one label a line, as the authors of OmniXAS publish their splits.

        Parameters
        ----------
        files
            Part name, such as ``train`` and ``val``, to file.

        Raises
        ------
        DatasetError
            If a file cannot be read or is empty.
        """
        labels: dict[str, list[str]] = {}
        for part, path in files.items():
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise DatasetError(f"The split file {path} cannot be read: {error}.") from None
            labels[part] = [line.strip() for line in text.splitlines() if line.strip()]
            if not labels[part]:
                raise DatasetError(f"The split file {path} names no row.")
        return cls(kind="labels", labels=labels)

    def summary(self) -> dict[str, str | int | float]:
        """Return what a data set records of it."""
        if self.kind == "all":
            return {"kind": "all"}
        if self.kind == "labels":
            return {"kind": "labels", **{part: len(names) for part, names in self.labels.items()}}
        return self.model_dump(include={"kind", "validation", "test", "seed"})

    def divide(self, rows: Sequence[DatasetRow]) -> dict[str, list[int]]:
        """Return part name to row numbers; parts without rows are left out.

        Raises
        ------
        DatasetError
            If a label is in two parts, or names two rows.
        """
        if self.kind == "labels":
            return _by_label(rows, self.labels)
        if self.kind == "random":
            return _by_material(rows, self.validation, self.test, self.seed)
        return {"train": list(range(len(rows)))}


def with_materials(rows: Sequence[DatasetRow]) -> list[DatasetRow]:
    """Return the rows with the material that each belongs to as its group.

    A material goes by its published id where it has one, and by its structure id otherwise. The
    same structure under two published ids, or once with and once without, is one material: its
    spectra are the same, and nothing may learn from one what it is judged on with the other.
    """
    ids = {row.structure_id for row in rows}
    first: dict[str, str] = {}

    def root(name: str) -> str:
        while first.setdefault(name, name) != name:
            name = first[name]
        return name

    for row in rows:
        # Published ids sort before the hexadecimal ids of structures here, so that they give the
        # group its name.
        ends = sorted({root(row.group), root(row.structure_id)}, key=lambda n: (n in ids, n))
        first[ends[-1]] = ends[0]
    return [row.model_copy(update={"group": root(row.group)}) for row in rows]


def missing_labels(split: Split, rows: Sequence[DatasetRow]) -> list[str]:
    """Return the labels that `split` names and no row has."""
    have = {row.label for row in rows}
    return [label for names in split.labels.values() for label in names if label not in have]


def _by_label(rows: Sequence[DatasetRow], labels: dict[str, list[str]]) -> dict[str, list[int]]:
    part_of: dict[str, str] = {}
    for part, names in labels.items():
        for name in names:
            if part_of.setdefault(name, part) != part:
                raise DatasetError(f"The split names {name} in {part_of[name]} and in {part}.")
    parts: dict[str, list[int]] = {}
    seen: set[str] = set()
    for number, row in enumerate(rows):
        if row.label not in part_of:
            continue
        if row.label in seen:
            raise DatasetError(
                f"Two spectra are called {row.label}: narrow the query, by project for example."
            )
        seen.add(row.label)
        parts.setdefault(part_of[row.label], []).append(number)
    return parts


def _by_material(
    rows: Sequence[DatasetRow], validation: float, test: float, seed: int
) -> dict[str, list[int]]:
    # Sorted first: the draw hangs on the materials and the seed, not on the order of the rows.
    materials = sorted({row.group for row in rows})
    order = np.random.default_rng(seed).permutation(len(materials))
    counts = {"val": round(validation * len(materials)), "test": round(test * len(materials))}
    names = ["val"] * counts["val"] + ["test"] * counts["test"]
    names += ["train"] * (len(materials) - len(names))
    part_of = {materials[place]: name for place, name in zip(order, names, strict=True)}
    parts: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        parts.setdefault(part_of[row.group], []).append(number)
    return parts
