"""The spectra of a frozen data set: read again, on its grid, and checked against its hash."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np

from nearedge.errors import DatasetError, SpectrumError
from nearedge.makers.learning.grids import on_grid
from nearedge.schemas import DatasetDoc, SpectrumDoc
from nearedge.schemas.dataset import DatasetRow
from nearedge.schemas.document import content_hash
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray, Spectrum
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import SpectrumQuery
from nearedge.store.spectra_store import SpectraStore

_DIGITS = 10
"""Of the values that a data set's hash is made of, counted from the largest of them: above
rounding, below anything physical, whatever the unit (a cross section in Å² is about 1e-4)."""


def targets_of(
    database: MongoDatabase, dataset: DatasetDoc, numbers: Sequence[int] | None = None
) -> FloatArray:
    """Return the spectra of a frozen data set on its grid and in its unit.

    Parameters
    ----------
    numbers
        Row numbers; None takes all. All are read and checked against the data set's hash.

    Returns
    -------
    FloatArray
        Shape ``(rows, grid.points)``.

    Raises
    ------
    DatasetError
        If a spectrum is no longer there, or is not what was frozen.
    """
    rows = dataset.rows
    spectra, unusable = usable_spectra(stored_documents(SpectraStore(database), rows), dataset.unit)
    gone = [row.label for row in rows if row.spectrum_id not in spectra]
    if gone:
        reason = next(iter(unusable.values()), "they are no longer in the database")
        raise DatasetError(
            f"{len(gone)} spectra of the data set {dataset.name} cannot be used, {gone[0]} being "
            f"the first: {reason}"
        )
    values = np.stack(
        [on_grid(spectra[row.spectrum_id], dataset.grid, dataset.absorber) for row in rows]
    )
    if frozen_hash(dataset, values) != dataset.dataset_id:
        raise DatasetError(
            f"The spectra of the data set {dataset.name} are not those that were frozen: freeze a "
            "new one."
        )
    return values if numbers is None else values[list(numbers)]


def stored_documents(store: SpectraStore, rows: Sequence[DatasetRow]) -> dict[str, SpectrumDoc]:
    """Return the spectra's documents by id; those that are gone are left out."""
    found: dict[str, SpectrumDoc] = {}
    ids = [row.spectrum_id for row in rows]
    for start in range(0, len(ids), 2000):
        query = SpectrumQuery(spectrum_ids=ids[start : start + 2000])
        found |= {document.spectrum_id: document for document in store.spectra(query)}
    return found


def usable_spectra(
    documents: Mapping[str, SpectrumDoc], unit: AbsorptionUnit
) -> tuple[dict[str, Spectrum], dict[str, str]]:
    """Return the spectra by id in `unit`, and by id why the others cannot be used."""
    spectra: dict[str, Spectrum] = {}
    unusable: dict[str, str] = {}
    for identifier, document in documents.items():
        try:
            spectra[identifier] = document.to_spectrum().to_unit(unit)
        except SpectrumError as error:
            unusable[identifier] = str(error)
    return spectra, unusable


def frozen_hash(dataset: DatasetDoc, values: FloatArray) -> str:
    """Return the id of a data set: rows, split, grid, unit and the values of its spectra."""
    largest = float(np.abs(values).max())
    decimals = _DIGITS - math.ceil(math.log10(largest)) if largest > 0 else 0
    rounded = np.round(values, decimals).astype("<f8") + 0.0  # + 0.0 turns -0.0 into 0.0
    content: list[object] = [
        [[row.spectrum_id, row.group] for row in dataset.rows],
        dataset.split,
        dataset.grid.model_dump(),
        str(dataset.unit),
        hashlib.sha256(rounded.tobytes()).hexdigest(),
    ]
    stated = [[row.edge_energy, row.fermi_energy] for row in dataset.rows]
    marked = [number for number, row in enumerate(dataset.rows) if row.outlier]
    # Data sets of releases that kept neither have the ids of then.
    if dataset.outlier_sigma is not None or any(each != [None, None] for each in stated):
        content.append([stated, dataset.outlier_sigma, marked])
    return content_hash(content)
