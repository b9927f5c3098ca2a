"""Applying a model, or a featurizer, to structures."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError, StructureError
from nearedge.models.featurizers.base import Featurizer
from nearedge.models.trained import TrainedModel
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray
from nearedge.structures.absorbers import unique_absorbers
from nearedge.structures.checks import check_structure


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")


class SiteSpectrum(_Answer):
    """The predicted spectrum of one absorbing site."""

    site: int = Field(description="Index in the structure as given, from zero.")
    multiplicity: int = Field(description="Equivalent sites it stands for.")
    energy: list[float] = Field(description="eV.")
    absorption: list[float] = Field(description="In the data set's unit.")
    std: list[float] = Field(description="Standard deviation, in the same unit.")


class AverageSpectrum(_Answer):
    """The average over the sites, weighted by multiplicity."""

    energy: list[float]
    absorption: list[float]
    std: list[float]


class StructurePrediction(_Answer):
    """What a model says about one structure."""

    structure: str = Field(description="The structure's label: file name, id or formula.")
    sites: list[SiteSpectrum]
    average: AverageSpectrum


class SiteFeatures(_Answer):
    """The features of one site."""

    site: int = Field(description="Index in the structure as given, from zero.")
    multiplicity: int = Field(description="Equivalent sites it stands for.")
    features: list[float]


class AverageFeatures(_Answer):
    """The average over the sites, weighted by multiplicity."""

    features: list[float]


class StructureFeatures(_Answer):
    """What a featurizer says about one structure."""

    structure: str = Field(description="The structure's label: file name, id or formula.")
    sites: list[SiteFeatures]
    average: AverageFeatures


def predict(
    model: TrainedModel,
    featurizer: Featurizer,
    structure: Structure,
    absorber: str,
    *,
    all_sites: bool = False,
    label: str | None = None,
) -> StructurePrediction:
    """Predict the spectra of a structure's absorbing sites and their average.

    Parameters
    ----------
    featurizer
        The one that the model's card names, with the same weights.
    structure
        An ordered structure; lengths in Å.
    absorber
        The element that absorbs; it must be the model's.
    all_sites
        Every site of the absorber instead of the symmetry-unique ones, each with multiplicity one.
    label
        What the answer calls the structure; None takes the formula.

    Raises
    ------
    ModelError
        If the model was trained for another element or on other features.
    StructureError
        If the structure cannot be used, or has no such absorber.
    """
    check_usable(model, featurizer, absorber)
    label = label or structure.composition.reduced_formula
    check_structure(structure, absorber, label)
    sites = sites_of(structure, absorber, all_sites=all_sites)
    features = featurizer.features(structure)[[index for index, _ in sites]]
    found = model.head.predict(features)
    weights = _weights(sites)
    # Errors of similar sites go together, so that they do not cancel in the average.
    spread = weights[:, None] * found.std
    variance = np.einsum("ie,ij,je->e", spread, model.head.correlation(features), spread)
    energy = _numbers(model.energies)
    return StructurePrediction(
        structure=label,
        sites=[
            SiteSpectrum(
                site=index,
                multiplicity=multiplicity,
                energy=energy,
                absorption=_numbers(found.mean[row]),
                std=_numbers(found.std[row]),
            )
            for row, (index, multiplicity) in enumerate(sites)
        ],
        average=AverageSpectrum(
            energy=energy,
            absorption=_numbers(weights @ found.mean),
            std=_numbers(np.sqrt(np.maximum(variance, 0.0))),
        ),
    )


def describe(
    featurizer: Featurizer,
    structure: Structure,
    absorber: str | None = None,
    *,
    all_sites: bool = False,
    label: str | None = None,
) -> StructureFeatures:
    """Compute the features of a structure's sites and their average.

    Parameters
    ----------
    absorber
        Only the sites of this element; None takes all elements.
    all_sites
        Every site instead of the symmetry-unique ones, each with multiplicity one.
    label
        What the answer calls the structure; None takes the formula.

    Raises
    ------
    ModelError
        If the featurizer does not know an element of the structure.
    StructureError
        If the structure cannot be used, or has no such absorber.
    """
    label = label or structure.composition.reduced_formula
    check_structure(structure, absorber, label)
    sites = sites_of(structure, absorber, all_sites=all_sites)
    features = featurizer.features(structure)[[index for index, _ in sites]]
    return StructureFeatures(
        structure=label,
        sites=[
            SiteFeatures(site=index, multiplicity=multiplicity, features=_numbers(row))
            for (index, multiplicity), row in zip(sites, features, strict=True)
        ],
        average=AverageFeatures(features=_numbers(_weights(sites) @ features)),
    )


def check_usable(model: TrainedModel, featurizer: Featurizer, absorber: str) -> None:
    """Refuse an absorber or a featurizer that the model was not trained with.

    Raises
    ------
    ModelError
        Saying what the model was trained with.
    """
    card = model.card
    if absorber != card.absorber:
        raise ModelError(
            f"The model {card.name} was trained on the {card.absorber} {card.edge} edge and cannot "
            f"predict {absorber}: choose a model of {absorber}."
        )
    if featurizer.ref != card.featurizer:
        raise ModelError(
            f"The model {card.name} was trained on features by {_named(card.featurizer)}, not by "
            f"{_named(featurizer.ref)}: load that featurizer with those weights."
        )


def sites_of(
    structure: Structure, absorber: str | None, *, all_sites: bool
) -> list[tuple[int, int]]:
    """Return site indices with their multiplicities, in the order of the structure.

    Raises
    ------
    StructureError
        If the structure has no such absorber.
    """
    symbols = [site.specie.symbol for site in structure]
    wanted = sorted(set(symbols)) if absorber is None else [absorber]
    if all_sites:
        found = [(index, 1) for index, symbol in enumerate(symbols) if symbol in wanted]
    else:
        found = [
            (site.index, site.multiplicity)
            for element in wanted
            for site in unique_absorbers(structure, element)
        ]
    if not found:
        raise StructureError(f"There is no {absorber} in {structure.composition.reduced_formula}.")
    return sorted(found)


def _weights(sites: list[tuple[int, int]]) -> FloatArray:
    multiplicities = np.array([multiplicity for _, multiplicity in sites], dtype=np.float64)
    weights: FloatArray = multiplicities / multiplicities.sum()
    return weights


def _numbers(values: FloatArray) -> list[float]:
    return [float(value) for value in values]


def _named(ref: FeaturizerRef) -> str:
    return ref.name if ref.weights_sha256 is None else f"{ref.name} ({ref.weights_sha256[:12]}…)"
