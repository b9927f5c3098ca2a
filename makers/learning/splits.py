"""Dividing a data set's rows into parts, whole materials at a time."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nearedge.errors import DatasetError
from nearedge.schemas.dataset import DatasetRow


class Split(BaseModel):
    """How rows are divided.

    ``all`` puts every row into ``train``; ``random`` draws materials for ``val`` and ``test``;
    ``stratified`` draws them so that materials with few and with many sites are in each part alike;
    ``formula`` draws formulas, whose materials stay together; ``labels`` takes the rows named, such
    as ``mp-1234_003``, and leaves out all others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["all", "random", "stratified", "formula", "labels"] = "all"
    validation: float = Field(0.1, ge=0, lt=1, description="Share of what is drawn.")
    test: float = Field(0.1, ge=0, lt=1, description="Share of what is drawn.")
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
        if self.kind == "all":
            return {"train": list(range(len(rows)))}
        unit_of = [row.group for row in rows]
        if self.kind == "formula":
            unit_of = _formulas(rows)
        if self.kind == "stratified":
            part_of = self._stratified(Counter(unit_of))
        else:
            part_of = self._random(sorted(set(unit_of)))
        parts: dict[str, list[int]] = {}
        for number, unit in enumerate(unit_of):
            parts.setdefault(part_of[unit], []).append(number)
        return parts

    def _random(self, units: Sequence[str]) -> dict[str, str]:
        """Return the part of each unit: by its place in the seed's order."""
        validation = round(self.validation * len(units))
        test = round(self.test * len(units))
        return self._dealt(units, Counter(val=validation, test=test))

    def _stratified(self, sites: Mapping[str, int]) -> dict[str, str]:
        """Give materials of each number of sites, in rising order, to the parts that lack most."""
        shares = {"train": 1 - self.validation - self.test}
        shares |= {"val": self.validation, "test": self.test}
        given = dict.fromkeys(shares, 0)
        alike: dict[int, list[str]] = {}
        for unit, size in sites.items():
            alike.setdefault(size, []).append(unit)
        part_of: dict[str, str] = {}
        for _, units in sorted(alike.items()):
            counts: Counter[str] = Counter()
            for _unit in units:
                count = sum(given.values()) + 1
                part = max(shares, key=lambda name: shares[name] * count - given[name])
                given[part] += 1
                counts[part] += 1
            part_of |= self._dealt(units, counts)
        return part_of

    def _dealt(self, units: Sequence[str], counts: Mapping[str, int]) -> dict[str, str]:
        """Give the first of the seed's order to ``val``, the last to ``test``.

        A material has the same place in every data set, near enough: what one model is judged on,
        another that learned from another element or code has mostly not seen either.
        """
        order = sorted(units, key=lambda unit: _place(unit, self.seed))
        validation, test = counts["val"], counts["test"]
        part_of = dict.fromkeys(order, "train") | dict.fromkeys(order[:validation], "val")
        return part_of | dict.fromkeys(order[len(order) - test :], "test")


def _place(unit: str, seed: int) -> str:
    """Return where a material stands in a seed's order, whatever else is in its data set."""
    return hashlib.sha256(f"{seed} {unit}".encode()).hexdigest()


def with_materials(rows: Sequence[DatasetRow]) -> list[DatasetRow]:
    """Return the rows with the material that each belongs to as its group.

    A material goes by its published id where it has one, and by its structure id otherwise. The
    same structure under two published ids, or once with and once without, is one material: its
    spectra are the same, and nothing may learn from one what it is judged on with the other.
    """
    ids = {row.structure_id for row in rows}
    # Published ids sort before the hexadecimal ids of structures here, so that they give the group
    # its name.
    named = _joined([(row.group, row.structure_id) for row in rows], lambda n: (n in ids, n))
    return [row.model_copy(update={"group": named[row.group]}) for row in rows]


def _formulas(rows: Sequence[DatasetRow]) -> list[str]:
    """Return what must stay together of each row where formulas are drawn.

    Raises
    ------
    DatasetError
        If a row does not say its formula.
    """
    lacking = [row.label for row in rows if not row.formula]
    if lacking:
        raise DatasetError(f"{lacking[0]} has no formula to divide by.")
    groups = {row.group for row in rows}
    named = _joined([(f"{row.formula} ", row.group) for row in rows], lambda n: (n in groups, n))
    return [named[row.group] for row in rows]


def _joined(
    pairs: Sequence[tuple[str, str]], key: Callable[[str], tuple[bool, str]]
) -> dict[str, str]:
    """Return for each name the least, by `key`, of those that pairs join it with."""
    first: dict[str, str] = {}

    def root(name: str) -> str:
        while first.setdefault(name, name) != name:
            name = first[name]
        return name

    for pair in pairs:
        ends = sorted({root(name) for name in pair}, key=key)
        first[ends[-1]] = ends[0]
    return {name: root(name) for name in list(first)}


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
