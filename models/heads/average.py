"""The average of different kinds of head, such as a kernel and a network.

Kinds that err differently err less together. The weights are those that fit the spectra of
materials left out best, where every kind tells how it predicts them; else all weigh the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from safetensors import SafetensorError
from scipy.optimize import nnls

from nearedge.errors import ModelError
from nearedge.models.heads import Head, head_kind, head_names
from nearedge.models.heads.base import Fitted, HeadPrediction, TrainingRows
from nearedge.models.heads.members import Settings, member_options, pack, read_settings, unpack
from nearedge.models.uncertainty.conformal import row_weights, rows_of_groups
from nearedge.models.uncertainty.scaling import IntervalScale
from nearedge.spectra.spectrum import FloatArray

Scalar = bool | int | float | str
_NO_MEMBERS = ("average", "end_to_end")
"""Kinds that do not learn from features alone, or are this one."""
_FIRM = 1e3
"""Weight, in units of the spectra, of the demand that the weights add up to one."""


class AverageOptions(BaseModel):
    """Which kinds, and their options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: str = Field(default="kernel,ensemble", description="Of head, with commas between.")
    settings: Settings = Field(
        default="{}",
        description='Options of each kind as JSON, such as {"ensemble": {"members": 5}}.',
    )
    fitted: bool = Field(
        default=True, description="Fit the weights to materials left out; else equal ones."
    )

    @field_validator("kinds")
    @classmethod
    def _are_kinds(cls, value: str) -> str:
        kinds = value.split(",")
        if len(kinds) < 2 or len(set(kinds)) < len(kinds):
            raise ValueError("name two kinds of head or more, each once")
        known = [kind for kind in head_names() if kind not in _NO_MEMBERS]
        if strange := [kind for kind in kinds if kind not in known]:
            raise ValueError(f"there is no head {strange[0]!r} to average, only {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def _fit_the_kinds(self) -> Self:
        # Else the last kind's would be found wrong when the others have been trained.
        for kind, settings in read_settings(self.settings).items():
            if kind not in self.kinds.split(","):
                raise ValueError(f"settings are of the kinds {self.kinds}, not of {kind!r}")
            try:
                member_options(kind, settings)
            except (ModelError, TypeError, ValueError) as error:
                raise ValueError(str(error)) from None
        return self


@dataclass(frozen=True, eq=False)
class AverageHead:
    """A trained average. Make it by `AverageHead.fit`.

    Parameters
    ----------
    members
        One head of each kind, by kind.
    weights
        Of the members in their order; they add up to one.
    mean
        Mean training spectrum, shape ``(points,)``.
    factor
        Of the weighted mean of the members' standard deviations, shape ``(points,)``.
    facts
        What the model card records.
    """

    name: ClassVar[str] = "average"
    fine_tunes: ClassVar[bool] = False
    options: ClassVar[type[BaseModel]] = AverageOptions

    members: dict[str, Head]
    weights: FloatArray
    mean: FloatArray
    factor: FloatArray
    facts: dict[str, Scalar]

    @classmethod
    def fit(
        cls,
        rows: TrainingRows,
        options: AverageOptions | None = None,
        *,
        seed: int = 0,
        parent: Head | None = None,
        checkpoints: Path | None = None,
    ) -> Fitted[Self]:
        """Train one head of each kind; see `Head.fit`.

        Raises
        ------
        ModelError
            If there is a parent: fine-tune the kinds that can be.
        """
        if parent is not None:
            raise ModelError(
                "An average has no parent: fine-tune a network or an ensemble, which can."
            )
        chosen = options or AverageOptions()
        settings = read_settings(chosen.settings)
        fits: dict[str, Fitted[Head]] = {}
        for kind in chosen.kinds.split(","):
            fits[kind] = head_kind(kind).fit(
                rows,
                member_options(kind, settings.get(kind, {})),
                seed=seed,
                checkpoints=None if checkpoints is None else checkpoints / kind,
            )
        judged = [fit.left_out for fit in fits.values() if fit.left_out is not None]
        weights = np.full(len(fits), 1.0 / len(fits))
        factor, left_out = np.ones(rows.targets.shape[1]), None
        if len(judged) == len(fits):
            if chosen.fitted:
                weights = _best_weights(judged, rows)
            left_out = _averaged(judged, weights)
            errors = rows.targets - left_out.mean
            factor = IntervalScale.fit(errors, left_out.std, rows.groups).std_factor
            left_out = _averaged(judged, weights, factor)
        named = dict(zip(fits, weights.tolist(), strict=True))
        facts: dict[str, Scalar] = {
            **chosen.model_dump(),
            **{f"weight.{kind}": weight for kind, weight in named.items()},
            **{
                f"{kind}.{key}": value
                for kind, fit in fits.items()
                for key, value in fit.head.hyperparameters.items()
            },
        }
        history = {
            f"{kind}.{name}": losses
            for kind, fit in fits.items()
            for name, losses in fit.history.items()
        }
        members = {kind: fit.head for kind, fit in fits.items()}
        head = cls(members, weights, rows.targets.mean(axis=0), factor, facts)
        return Fitted(head, left_out, history)

    @classmethod
    def tells_left_out(cls, options: AverageOptions | None = None) -> bool:
        """It does where every kind in it does."""
        chosen = options or AverageOptions()
        settings = read_settings(chosen.settings)
        return all(
            head_kind(kind).tells_left_out(member_options(kind, settings.get(kind, {})))
            for kind in chosen.kinds.split(",")
        )

    @property
    def size(self) -> int:
        """Features per site that it takes."""
        return next(iter(self.members.values())).size

    @property
    def points(self) -> int:
        """Energies that it predicts."""
        return len(self.mean)

    @property
    def hyperparameters(self) -> dict[str, Scalar]:
        """What the model card records."""
        return dict(self.facts)

    def predict(self, features: FloatArray) -> HeadPrediction:
        """Predict spectra: the weighted mean of the members'."""
        found = [member.predict(features) for member in self.members.values()]
        return _averaged(found, self.weights, self.factor)

    def correlation(self, features: FloatArray) -> FloatArray:
        """Return the weighted mean of what the members say, shape ``(n_sites, n_sites)``."""
        parts = [member.correlation(features) for member in self.members.values()]
        correlation: FloatArray = np.tensordot(self.weights, parts, axes=1)
        return correlation

    def to_bytes(self) -> bytes:
        """Return the weights as one safetensors file, each member's under its kind."""
        own = {"weights": self.weights, "mean": self.mean, "factor": self.factor}
        return pack(self.members, {"facts": self.facts}, own)

    @classmethod
    def from_bytes(cls, weights: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ModelError
            If it is cut short, lacks an array, or the shapes do not fit.
        """
        try:
            members, described, own = unpack(weights)
            head = cls(members=members, facts=described["facts"], **own)
            shapes = (head.mean.shape, head.factor.shape, head.weights.shape)
            points = next(iter(members.values())).points
            if shapes != ((points,), (points,), (len(members),)):
                raise ValueError("the arrays differ in shape")
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(
                f"The average's weights cannot be read ({error}): the file is cut short or damaged."
            ) from None
        return head


def _averaged(
    found: Sequence[HeadPrediction], weights: FloatArray, factor: FloatArray | float = 1.0
) -> HeadPrediction:
    mean = np.tensordot(weights, [one.mean for one in found], axes=1)
    std = np.tensordot(weights, [one.std for one in found], axes=1) * factor
    return HeadPrediction(mean, std, np.min([one.distance for one in found], axis=0))


def _best_weights(judged: Sequence[HeadPrediction], rows: TrainingRows) -> FloatArray:
    """Return weights, not negative and adding up to one, of the least squares of left-out rows."""
    root = np.sqrt(row_weights(rows_of_groups(rows.groups)))[:, None]
    columns = np.stack([(root * one.mean).ravel() for one in judged], axis=1)
    wanted = (root * rows.targets).ravel()
    # The same minimum from a matrix as small as the number of members.
    orthogonal, triangle = np.linalg.qr(columns)
    firm = _FIRM * np.sqrt(np.mean(wanted**2))
    matrix = np.vstack([triangle, np.full(len(judged), firm)])
    weights, _ = nnls(matrix, np.append(orthogonal.T @ wanted, firm))
    best: FloatArray = weights / weights.sum()
    return best
