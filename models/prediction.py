"""Applying a model, or a featurizer, to structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError, StructureError
from nearedge.models.featurizers.base import Featurizer
from nearedge.models.heads import HeadPrediction
from nearedge.models.inputs import SPECTRUM
from nearedge.models.trained import TrainedModel
from nearedge.models.uncertainty.domain import Domain, Verdict
from nearedge.models.uncertainty.reliability import Reliability
from nearedge.models.uncertainty.scaling import LEVELS
from nearedge.models.uncertainty.surroundings import Surroundings, surroundings
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
    half_width_68: list[float] | None = Field(
        description="68 % of spectra of materials not seen are within so much; None if not known."
    )
    half_width_95: list[float] | None = Field(description="The same of 95 %.")
    error_bound: float | None = Field(
        description="The root-mean-square error over energies of 95 % of spectra is below."
    )
    distance: float = Field(description="To the nearest training site; zero is one of them.")
    outside: list[str] = Field(description="Why it is unlike all training sites; empty if not.")
    unfamiliar: list[str] = Field(
        description="A structure type that is new although the training sites are near."
    )
    input_spectrum: Literal["computed", "predicted"] | None = Field(
        None, description="Where the spectrum that the model takes of the site is from, if any."
    )


class AverageSpectrum(_Answer):
    """The average over the sites, weighted by multiplicity."""

    energy: list[float]
    absorption: list[float]
    std: list[float]
    half_width_68: list[float] | None = Field(description="As of a site.")
    half_width_95: list[float] | None = Field(description="As of a site.")
    error_bound: float | None = Field(description="The weighted mean of the sites' bounds.")
    outside: list[str] = Field(description="The reasons of all sites.")


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
    spectra: Mapping[int, FloatArray] | None = None,
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
    spectra
        By index of the site, those of the code that the model takes as an input, shape
        ``(points,)`` each. The others are predicted, where the model has a model for that.

    Raises
    ------
    ModelError
        If the model was trained for another element or on other features, or takes a spectrum of a
        site that is neither given nor can be predicted.
    StructureError
        If the structure cannot be used, or has no such absorber.
    """
    check_usable(model, featurizer, absorber)
    label = label or structure.composition.reduced_formula
    check_structure(structure, absorber, label)
    sites = sites_of(structure, absorber, all_sites=all_sites)
    features = featurizer.features(structure)[[index for index, _ in sites]]
    given = _given(model, [index for index, _ in sites], spectra or {})
    features = model.inputs_for(features, absorber, spectra=given)
    found = model.head.predict(features)
    stated = _Stated.of(model.reliability_of(absorber), found)
    verdicts = _verdicts(model.reliability_of(absorber).domain, structure, sites, found.distance)
    weights = _weights(sites)
    correlation = model.head.correlation(features)
    energy = _numbers(model.energies_of(absorber))
    return StructurePrediction(
        structure=label,
        sites=[
            SiteSpectrum(
                site=index,
                multiplicity=multiplicity,
                energy=energy,
                absorption=_numbers(found.mean[row]),
                std=_numbers(found.std[row]),
                half_width_68=stated.half_width(0, row),
                half_width_95=stated.half_width(1, row),
                error_bound=None if stated.bound is None else float(stated.bound[row]),
                distance=float(found.distance[row]),
                outside=verdicts[row].outside,
                unfamiliar=verdicts[row].unfamiliar,
                input_spectrum=None if given is None else _origin(given[row]),
            )
            for row, (index, multiplicity) in enumerate(sites)
        ],
        average=AverageSpectrum(
            energy=energy,
            absorption=_numbers(weights @ found.mean),
            std=_numbers(_of_average(found.std, weights, correlation)),
            half_width_68=stated.half_width_of_average(0, weights, correlation),
            half_width_95=stated.half_width_of_average(1, weights, correlation),
            # No error of an average is larger than the average of the errors.
            error_bound=None if stated.bound is None else float(weights @ stated.bound),
            outside=list(dict.fromkeys(reason for each in verdicts for reason in each.outside)),
        ),
    )


def _given(
    model: TrainedModel, sites: Sequence[int], spectra: Mapping[int, FloatArray]
) -> FloatArray | None:
    """Return the spectra that the model takes, rows of NaN where none is given."""
    if not model.card.takes_spectra:
        return None
    width = sum(w for name, w in model.card.inputs.items() if name.startswith(SPECTRUM))
    nothing = np.full(width, np.nan)
    return np.array([spectra.get(site, nothing) for site in sites]).reshape(-1, width)


def _origin(spectrum: FloatArray) -> Literal["computed", "predicted"]:
    return "predicted" if bool(np.isnan(spectrum).all()) else "computed"


@dataclass(frozen=True, eq=False)
class _Stated:
    """What is stated of the errors of some sites, beside standard deviations."""

    widths: tuple[FloatArray, ...] | None
    bound: FloatArray | None

    @classmethod
    def of(cls, known: Reliability, found: HeadPrediction) -> _Stated:
        scale = known.intervals
        widths = None
        if scale is not None:
            widths = tuple(scale.half_width(found.std, level) for level in LEVELS)
        return cls(widths, None if known.bound is None else known.bound.bound(found))

    def half_width(self, level: int, row: int) -> list[float] | None:
        return None if self.widths is None else _numbers(self.widths[level][row])

    def half_width_of_average(
        self, level: int, weights: FloatArray, correlation: FloatArray
    ) -> list[float] | None:
        if self.widths is None:
            return None
        return _numbers(_of_average(self.widths[level], weights, correlation))


def _of_average(spread: FloatArray, weights: FloatArray, correlation: FloatArray) -> FloatArray:
    """Return the deviation of the average from those of the sites, shape ``(points,)``."""
    # Errors of similar sites go together, so that they do not cancel in the average.
    weighted = weights[:, None] * spread
    variance = np.einsum("ie,ij,je->e", weighted, correlation, weighted)
    deviation: FloatArray = np.sqrt(np.maximum(variance, 0.0))
    return deviation


def _verdicts(
    domain: Domain | None,
    structure: Structure,
    sites: list[tuple[int, int]],
    distances: FloatArray,
) -> list[Verdict]:
    if domain is None:
        return [Verdict([], []) for _ in sites]
    seen: list[Surroundings | None] = [None] * len(sites)
    if domain.surroundings is not None:
        seen = [*surroundings(structure, [index for index, _ in sites])]
    return [domain.judge(site, float(d)) for site, d in zip(seen, distances, strict=True)]


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
    model.like(absorber)
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
