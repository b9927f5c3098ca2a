"""Freezing a data set: which spectra, on which grid, divided how, for good."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
from jobflow.core.job import job
from jobflow.core.maker import Maker
from monty.json import jsanitize
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nearedge.errors import DatasetError, SpectrumError
from nearedge.makers.learning.featurize import FeaturizeOutcome
from nearedge.makers.learning.grids import aligned_grid, choose_grid, on_grid
from nearedge.makers.learning.splits import Split, missing_labels, with_materials
from nearedge.makers.learning.targets import (
    frozen_hash,
    stored_documents,
    targets_of,
    usable_spectra,
)
from nearedge.schemas import DatasetDoc, GridDoc, SpectrumDoc, SpectrumKind, StructureDoc
from nearedge.schemas.dataset import DatasetRow
from nearedge.spectra.grid import Grid
from nearedge.spectra.outliers import outliers
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray, Spectrum
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import SpectrumQuery
from nearedge.store.records import SpectrumRow
from nearedge.store.spectra_store import SpectraStore

_MATERIAL_ID = re.compile(r"(mp|mvc)-\d+")
OUTLIER_SIGMA = {"feff": 2.5}
OTHER_SIGMA = 5.0
"""OmniXAS's rules (arXiv:2409.19552): FEFF's, and VASP's, which all other codes get."""


class FreezeOutcome(BaseModel):
    """What a freeze job returns; the data set is in the store."""

    model_config = ConfigDict(extra="forbid")

    dataset_id: str
    name: str
    parts: dict[str, int] = Field(description="Part to number of rows.")
    grid: GridDoc
    unit: AbsorptionUnit
    outliers: int = Field(0, description="Rows that are marked; they are kept.")
    left_out: dict[str, str] = Field(
        default_factory=dict, description="Label of each spectrum left out to the reason."
    )
    missing: list[str] = Field(
        default_factory=list, description="Labels that the split names and no spectrum has."
    )


@dataclass
class FreezeMaker(Maker):
    """Freeze the site spectra that answer a query.

    Parameters
    ----------
    name
        The job's name.
    dataset
        The data set's name.
    unit
        Unit of the frozen absorption; OmniXAS's by default.
    grid
        Energies; None takes OmniXAS's grid for the element where the spectra cover it, and one of
        the same step and width otherwise, laid by where most of them rise.
    aligned_to
        Name or id of a data set of the same element by another code: its grid is taken, moved by
        one shift so that both codes' spectra rise at the same point of it.
    split
        How rows are divided.
    outlier_sigma
        Rows are marked that lie, at any energy, further than so many standard deviations from the
        mean of the part ``train``. None takes what OmniXAS has for the code, 0 marks nothing.
    """

    name: str = "freeze"
    dataset: str = "dataset"
    unit: AbsorptionUnit = AbsorptionUnit.MILLIBOHR2
    grid: GridDoc | None = None
    aligned_to: str | None = None
    split: Split = field(default_factory=Split)
    outlier_sigma: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the maker with its options as dictionaries: FireWorks would store them as text."""
        sanitized: dict[str, Any] = jsanitize(super().as_dict(), strict=True, enum_values=True)
        return sanitized

    @job(output_schema=FreezeOutcome)
    def make(
        self, query: SpectrumQuery, featurized: Sequence[FeaturizeOutcome] = ()
    ) -> FreezeOutcome:
        """Return the frozen data set's id; as a job, when called on a maker.

        Parameters
        ----------
        query
            Which spectra; averages are left out.
        featurized
            Featurize jobs to wait for: structures that they refused are left out.

        Raises
        ------
        DatasetError
            If nothing answers, or spectra of several protocols do.
        """
        refused = {r.structure_key: r.reason for each in featurized for r in each.refused}
        return freeze_dataset(
            connect(),
            self.dataset,
            query,
            split=self.split,
            unit=AbsorptionUnit(self.unit),
            grid=self.grid,
            aligned_to=self.aligned_to,
            outlier_sigma=self.outlier_sigma,
            refused=refused,
        )


def freeze_dataset(
    database: MongoDatabase,
    name: str,
    query: SpectrumQuery,
    *,
    split: Split | None = None,
    unit: AbsorptionUnit = AbsorptionUnit.MILLIBOHR2,
    grid: GridDoc | None = None,
    aligned_to: str | None = None,
    outlier_sigma: float | None = None,
    refused: dict[str, str] | None = None,
) -> FreezeOutcome:
    """Freeze and store a data set; see `FreezeMaker`.

    Parameters
    ----------
    refused
        Structure keys to leave out, with the reason.
    """
    split = split or Split()
    store = SpectraStore(database)
    found = frozen_listing(database, query)
    rows = _listed(store, found)
    left_out = {
        row.label: (refused or {})[row.structure_key]
        for row in rows
        if row.structure_key in (refused or {})
    }
    missing = missing_labels(split, rows)
    rows = [row for row in _named(rows, split) if row.label not in left_out]
    documents = stored_documents(store, rows)
    rows = [_with_energies(row, documents.get(row.spectrum_id)) for row in rows]
    spectra, unusable = usable_spectra(documents, unit)
    if grid is None and aligned_to is not None:
        grid = _grid_like(database, DatasetStore(database).get(aligned_to), rows, spectra)
    grid = grid or choose_grid(found[0].absorber, found[0].edge, list(spectra.values()))
    values: list[FloatArray] = []
    kept: list[DatasetRow] = []
    for row in rows:
        try:
            if row.spectrum_id in unusable:
                raise SpectrumError(unusable[row.spectrum_id])
            values.append(on_grid(spectra[row.spectrum_id], grid, found[0].absorber))
            kept.append(row)
        except SpectrumError as error:
            left_out[row.label] = str(error)
    if not kept:
        reason = next(iter(left_out.values()), "the split names none of them")
        raise DatasetError(f"None of the {len(found)} spectra can be frozen: {reason}")
    if outlier_sigma is None:
        outlier_sigma = OUTLIER_SIGMA.get(found[0].code, OTHER_SIGMA)
    dataset = _document(
        name,
        found[0],
        kept,
        np.stack(values),
        split,
        outlier_sigma,
        unit=unit,
        grid=grid,
        query={
            "spectra": query.model_dump(mode="json", exclude_none=True),
            "split": split.summary(),
            "left_out": len(left_out),
            **({} if aligned_to is None else {"aligned_to": aligned_to}),
        },
    )
    DatasetStore(database).put(dataset)
    return FreezeOutcome(
        dataset_id=dataset.dataset_id,
        name=name,
        parts={part: len(numbers) for part, numbers in dataset.split.items()},
        grid=grid,
        unit=unit,
        outliers=sum(row.outlier for row in dataset.rows),
        left_out=left_out,
        missing=missing,
    )


def expected_parts(database: MongoDatabase, query: SpectrumQuery, split: Split) -> list[str]:
    """Return the parts that a data set of a query would have, if all its spectra can be used.

    Raises
    ------
    DatasetError
        As `frozen_listing`.
    """
    rows = _listed(SpectraStore(database), frozen_listing(database, query))
    return list(split.divide(rows))


def _listed(store: SpectraStore, found: Sequence[SpectrumRow]) -> list[DatasetRow]:
    structures = store.structures({row.structure_key for row in found})
    return with_materials([_row(row, structures[row.structure_key]) for row in found])


def frozen_listing(database: MongoDatabase, query: SpectrumQuery) -> list[SpectrumRow]:
    """Return the site spectra that a data set of a query would be made of, by formula.

    A data set's id hangs on their order, and must be what it was in releases that listed so.

    Raises
    ------
    DatasetError
        If nothing answers, or spectra of several codes, protocols or parameters do.
    """
    sites = query.model_copy(update={"kind": SpectrumKind.SITE})
    found = sorted(SpectraStore(database).listing(sites), key=attrgetter("formula"))
    _check_alike(found, query)
    return found


def _check_alike(found: Sequence[SpectrumRow], query: SpectrumQuery) -> None:
    if not found:
        conditions = query.model_dump(exclude_none=True)
        raise DatasetError(
            f"No site spectrum answers {conditions or 'the query'}: `nearedge query` shows what is "
            "there."
        )
    for what in ("absorber", "edge", "code", "protocol", "parameters_id"):
        counts = Counter(getattr(row, what) for row in found)
        if len(counts) > 1:
            listed = ", ".join(f"{value} ({count})" for value, count in counts.most_common(4))
            raise DatasetError(
                f"A data set holds spectra of one {what}, and {len(counts)} answer: {listed}. Name "
                f"the {what} in the query."
            )


def _row(row: SpectrumRow, structure: StructureDoc) -> DatasetRow:
    """Describe a row; its group is the published id where it has one, else the structure id."""
    label = structure.source.label
    index = int(row.absorbing_index or 0)
    published = structure.source.kind == "materials_project" or _MATERIAL_ID.fullmatch(label)
    return DatasetRow(
        spectrum_id=row.spectrum_id,
        structure_key=row.structure_key,
        structure_id=row.structure_id,
        absorbing_index=index,
        group=label if published else row.structure_id,
        label=f"{label}_{index:03d}",
        formula=row.formula,
    )


def _named(rows: Sequence[DatasetRow], split: Split) -> list[DatasetRow]:
    """Return the rows that the split puts anywhere."""
    numbers = {number for part in split.divide(rows).values() for number in part}
    return [row for number, row in enumerate(rows) if number in numbers]


def _with_energies(row: DatasetRow, document: SpectrumDoc | None) -> DatasetRow:
    if document is None:
        return row
    reference = document.energy_reference
    return row.model_copy(
        update={"edge_energy": reference.edge_energy, "fermi_energy": reference.fermi_energy}
    )


def _grid_like(
    database: MongoDatabase,
    reference: DatasetDoc,
    rows: Sequence[DatasetRow],
    spectra: Mapping[str, Spectrum],
) -> GridDoc:
    """Return the grid of `reference`, moved to where the spectra of `rows` rise."""
    energies = Grid(reference.grid.start, reference.grid.step, reference.grid.points).energies
    there = {
        row.site: Spectrum(energies, values, reference.unit)
        for row, values in zip(reference.rows, targets_of(database, reference), strict=True)
    }
    here = {row.site: spectra[row.spectrum_id] for row in rows if row.spectrum_id in spectra}
    return aligned_grid(reference.grid, there, here)


def _document(
    name: str,
    like: SpectrumRow,
    rows: list[DatasetRow],
    values: FloatArray,
    split: Split,
    outlier_sigma: float,
    *,
    unit: AbsorptionUnit,
    grid: GridDoc,
    query: dict[str, Any],
) -> DatasetDoc:
    parts = split.divide(rows)
    if outlier_sigma and parts.get("train"):
        marks = outliers(values, parts["train"], outlier_sigma)
        rows = [
            row.model_copy(update={"outlier": bool(mark)})
            for row, mark in zip(rows, marks, strict=True)
        ]
    try:
        dataset = DatasetDoc(
            dataset_id="",
            name=name,
            absorber=like.absorber,
            edge=like.edge,
            code=like.code,
            protocol=like.protocol,
            parameters_id=like.parameters_id,
            unit=unit,
            grid=grid,
            query=query,
            rows=rows,
            split=parts,
            outlier_sigma=outlier_sigma or None,
        )
    except ValidationError as error:
        reason = error.errors(include_input=False, include_url=False)[0]["msg"]
        raise DatasetError(
            f"The split of {name} is refused: {reason.removeprefix('Value error, ')}."
        ) from None
    return dataset.model_copy(update={"dataset_id": frozen_hash(dataset, values)})
