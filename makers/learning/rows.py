"""The rows of frozen data sets as a head takes them: features, blocks beside them, spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nearedge.errors import DatasetError, ModelError
from nearedge.makers.learning.targets import targets_of
from nearedge.models.featurizers import Featurizer
from nearedge.models.heads import TrainingRows
from nearedge.models.inputs import SPECTRUM, input_columns
from nearedge.models.trained import training_set
from nearedge.schemas import DatasetDoc
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray
from nearedge.store.features import FeatureStore
from nearedge.store.operations import MongoDatabase


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a head takes of each site.

    Parameters
    ----------
    featurizer
        Of the structures.
    inputs, fidelities
        Blocks beside its features, as on a model's card.
    spectra
        Of other codes by site (`DatasetRow.site`), shape ``(points,)`` each, where `inputs` has
        such a block.
    """

    featurizer: Featurizer
    inputs: dict[str, int] = field(default_factory=dict)
    fidelities: list[str] = field(default_factory=list)
    spectra: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def takes_spectra(self) -> bool:
        """Whether a site without a spectrum of another code is of no use."""
        return any(name.startswith(SPECTRUM) for name in self.inputs)


@dataclass(frozen=True, eq=False)
class SomeRows:
    """Which rows of a data set.

    Parameters
    ----------
    dataset
        Where they are from.
    numbers
        Their numbers in it.
    """

    dataset: DatasetDoc
    numbers: list[int]

    @property
    def groups(self) -> list[str]:
        """The material of each row."""
        return [self.dataset.rows[number].group for number in self.numbers]

    @property
    def outliers(self) -> NDArray[np.bool_]:
        """Which rows are marked, shape ``(n,)``."""
        return np.array([self.dataset.rows[number].outlier for number in self.numbers], dtype=bool)


@dataclass(frozen=True, eq=False)
class Rows(SomeRows):
    """Rows of one data set, as a head takes them.

    Parameters
    ----------
    features
        With the blocks beside them, shape ``(n, size)``.
    blocks
        Names and widths of what the features are made of.
    targets
        Absorption, shape ``(n, points)``.
    """

    features: FloatArray
    blocks: dict[str, int]
    targets: FloatArray

    @property
    def edges(self) -> FloatArray:
        """Energies of the code's own zero, in eV above the grid's start, shape ``(n,)``.

        Edge energy minus Fermi level: what FEFF's spectra shift by. NaN where the code does not
        state both.
        """
        stated = [self.dataset.rows[number].zero for number in self.numbers]
        edges = np.array([np.nan if zero is None else zero for zero in stated], dtype=np.float64)
        return edges - self.dataset.grid.start

    @classmethod
    def gather(
        cls,
        database: MongoDatabase,
        dataset: DatasetDoc,
        recipe: Recipe,
        numbers: Sequence[int],
    ) -> Self:
        """Return some rows of a data set, by number, as a recipe wants them.

        Raises
        ------
        ModelError
            If a structure has no features in the store, or a site no spectrum that is an input.
        DatasetError
            If the spectra are not those that were frozen.
        """
        ref = recipe.featurizer.ref
        features = features_of(database, dataset, ref, numbers)
        blocks = {**recipe.featurizer.blocks, **recipe.inputs}
        if recipe.inputs:
            spectra = None
            if recipe.takes_spectra:
                spectra = _stacked(recipe, [dataset.rows[number].site for number in numbers])
            columns = input_columns(
                recipe.inputs,
                recipe.fidelities,
                training_set(dataset, len(numbers)),
                len(numbers),
                spectra,
            )
            features = np.concatenate([features, columns], axis=1)
        return cls(dataset, list(numbers), features, blocks, targets_of(database, dataset, numbers))


def training_rows(parts: Sequence[Rows]) -> TrainingRows:
    """Return the rows of several data sets as a head learns from them.

    Raises
    ------
    ModelError
        If there are fewer than two rows.
    """
    edges = np.concatenate([part.edges for part in parts])
    return TrainingRows(
        features=np.concatenate([part.features for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        groups=[group for part in parts for group in part.groups],
        step=parts[0].dataset.grid.step,
        blocks=parts[0].blocks,
        edges=None if np.all(np.isnan(edges)) else edges,
    )


def check_alike(datasets: Sequence[DatasetDoc]) -> None:
    """Refuse data sets that one head cannot learn from together.

    Raises
    ------
    DatasetError
        If they differ in edge, unit, step or number of energies, or two are of one element and
        fidelity.
    """
    first = datasets[0]
    for other in datasets[1:]:
        for what, one, two in (
            ("edge", first.edge, other.edge),
            ("unit", first.unit, other.unit),
            ("step", first.grid.step, other.grid.step),
            ("number of energies", first.grid.points, other.grid.points),
        ):
            if one != two:
                raise DatasetError(
                    f"The data sets {first.name} and {other.name} differ in their {what} ({one} "
                    f"and {two}): freeze them alike to learn from them together."
                )
    seen: dict[tuple[str, str, str], str] = {}
    for each in datasets:
        what_of = (each.absorber, each.code, each.protocol)
        if what_of in seen:
            raise DatasetError(
                f"The data sets {seen[what_of]} and {each.name} are both of {each.absorber} by "
                f"{each.code} {each.protocol}: freeze one of both."
            )
        seen[what_of] = each.name


def part_numbers(dataset: DatasetDoc, parts: Sequence[str]) -> list[int]:
    """Return the row numbers of some parts of a data set, ascending.

    Raises
    ------
    DatasetError
        If it has no such part.
    """
    for part in parts:
        if part not in dataset.split:
            raise DatasetError(
                f"The data set {dataset.name} has no part {part!r}, only "
                f"{', '.join(dataset.split)}."
            )
    return sorted({number for part in parts for number in dataset.split[part]})


def unusable(database: MongoDatabase, dataset: DatasetDoc, recipe: Recipe) -> set[int]:
    """Return the numbers of rows without features in the store, or without a spectrum to take."""
    keys = [row.structure_key for row in dataset.rows]
    lacking = set(FeatureStore(database).missing(keys, recipe.featurizer.ref))
    return {
        number
        for number, row in enumerate(dataset.rows)
        if row.structure_key in lacking or (recipe.takes_spectra and row.site not in recipe.spectra)
    }


def features_of(
    database: MongoDatabase,
    dataset: DatasetDoc,
    featurizer: FeaturizerRef,
    numbers: Sequence[int] | None = None,
) -> FloatArray:
    """Return the features of a data set's absorbing sites, shape ``(rows, featurizer.size)``.

    Parameters
    ----------
    numbers
        Row numbers; None takes all.

    Raises
    ------
    ModelError
        If a structure has no features in the store.
    """
    rows = dataset.rows if numbers is None else [dataset.rows[number] for number in numbers]
    places = [(row.structure_key, row.absorbing_index) for row in rows]
    found, lacking = FeatureStore(database).sites(places, featurizer)
    if lacking:
        raise ModelError(
            f"{len(lacking)} rows of the data set {dataset.name} have no {featurizer.name} "
            f"features, {rows[lacking[0]].label} being the first: the featurizer refused the "
            "structure, or was not run on it."
        )
    features: FloatArray = found.astype(np.float64, copy=False)
    return features


def _stacked(recipe: Recipe, sites: Sequence[str]) -> FloatArray:
    lacking = [site for site in sites if site not in recipe.spectra]
    if lacking:
        raise ModelError(
            f"{len(lacking)} sites have no spectrum for the input that the model takes: compute "
            "them by that code too, or train with a model that predicts them."
        )
    width = next(size for name, size in recipe.inputs.items() if name.startswith(SPECTRUM))
    spectra: FloatArray = np.array([recipe.spectra[site] for site in sites]).reshape(-1, width)
    return spectra
