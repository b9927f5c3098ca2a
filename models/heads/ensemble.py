"""Ensembles: several heads of one kind, whose mean errs less and whose spread shows where.

After neural ensembles for X-ray spectra (arXiv:2210.00336). The members are trained with parts of
the materials left out, so that each row is also predicted by members that never saw its material;
or on all rows with seeds of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from safetensors import SafetensorError

from nearedge.errors import ModelError
from nearedge.models.heads import Head, head_kind
from nearedge.models.heads.base import Fitted, HeadPrediction, TrainingRows
from nearedge.models.heads.members import Settings, member_options, pack, read_settings, unpack
from nearedge.models.training.data import chance_of
from nearedge.models.uncertainty.conformal import IntArray, row_weights, rows_of_groups
from nearedge.models.uncertainty.signal_bars import ErrorBars
from nearedge.spectra.spectrum import FloatArray

Scalar = bool | int | float | str
FEWEST_ROWS = 2
"""That each member must have to learn from; else none leaves any out."""


class EnsembleOptions(BaseModel):
    """Of the ensemble, and of its members."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(default="residual", description="Of head, of which it is made.")
    settings: Settings = Field(
        default="{}", description='The members\' options as JSON, such as {"width": 128}.'
    )
    folds: int = Field(
        default=5,
        ge=0,
        description="Parts of the materials; each member leaves one out. 0 trains all on all rows.",
    )
    members: int = Field(
        default=10, ge=2, description="A multiple of `folds`: each part is left out as often."
    )

    @field_validator("members")
    @classmethod
    def _share_the_folds(cls, value: int, info: ValidationInfo) -> int:
        folds = info.data.get("folds", 0)
        if folds == 1 or (folds and value % folds):
            raise ValueError(f"{value} members cannot share {folds} folds: choose a multiple")
        return value


@dataclass(frozen=True, eq=False)
class EnsembleHead:
    """A trained ensemble. Make it by `EnsembleHead.fit`.

    Parameters
    ----------
    members
        Heads of one kind; the prediction is their mean.
    mean
        Mean training spectrum, shape ``(points,)``.
    bars
        Error bars from the members' own standard deviations and, where each row was left out by
        more than one member, from their spread. None takes the members' own.
    facts
        What the model card records.
    """

    name: ClassVar[str] = "ensemble"
    fine_tunes: ClassVar[bool] = True
    options: ClassVar[type[BaseModel]] = EnsembleOptions

    members: tuple[Head, ...]
    mean: FloatArray
    bars: ErrorBars | None
    facts: dict[str, Scalar]

    @classmethod
    def fit(
        cls,
        rows: TrainingRows,
        options: EnsembleOptions | None = None,
        *,
        seed: int = 0,
        parent: Head | None = None,
        checkpoints: Path | None = None,
    ) -> Fitted[Self]:
        """Train the members; see `Head.fit`.

        Left-out predictions come from the members that did not see the material, which are fewer
        than all and so err a little more than the whole ensemble. Where each row is left out more
        than once, the error bars allow for that; where it is left out once they are too wide, by a
        tenth or so.

        Parameters
        ----------
        parent
            An ensemble of as many members and folds, each member of which one starts from, and
            which leaves the same materials out; or one head that all start from. That one may have
            seen any material, so that nothing is left out then.
        """
        chosen = options or EnsembleOptions()
        own = member_options(chosen.kind, read_settings(chosen.settings))
        parents, fold_seed = _parents(parent, chosen, seed)
        left_out = _left_out_rows(rows, chosen, fold_seed)
        members: list[Head] = []
        history: dict[str, Sequence[float]] = {}
        for number, (without, start) in enumerate(zip(left_out, parents, strict=True)):
            fitted = head_kind(chosen.kind).fit(
                rows.take(np.setdiff1d(np.arange(len(rows.features)), without)),
                own,
                seed=seed * 1000 + number,
                parent=start,
                checkpoints=None if checkpoints is None else checkpoints / str(number),
            )
            members.append(fitted.head)
            history |= {f"{number}.{name}": losses for name, losses in fitted.history.items()}
        bars, judged = _judge(members, rows, left_out)
        facts: dict[str, Scalar] = {
            **chosen.model_dump(),
            "fold_seed": -1 if fold_seed is None else fold_seed,
            **{f"member.{k}": v for k, v in members[0].hyperparameters.items()},
        }
        head = cls(tuple(members), rows.targets.mean(axis=0), bars, facts)
        return Fitted(head, judged, history)

    @classmethod
    def tells_left_out(cls, options: EnsembleOptions | None = None) -> bool:
        """It does where its members leave materials out."""
        return (options or EnsembleOptions()).folds > 0

    @property
    def size(self) -> int:
        """Features per site that it takes."""
        return self.members[0].size

    @property
    def points(self) -> int:
        """Energies that it predicts."""
        return self.members[0].points

    @property
    def hyperparameters(self) -> dict[str, Scalar]:
        """What the model card records; of what differs among members, the first one's."""
        return dict(self.facts)

    def predict(self, features: FloatArray) -> HeadPrediction:
        """Predict spectra: the mean of the members', and the distance to the nearest of theirs."""
        found = [member.predict(features) for member in self.members]
        mean = np.mean([one.mean for one in found], axis=0)
        distance = np.min([one.distance for one in found], axis=0)
        own = _own_std(found)
        if self.bars is None:
            return HeadPrediction(mean, own, distance)
        std = self.bars.std(_signals(found, len(self.bars.power)))
        return HeadPrediction(mean, std, distance)

    def spread(self, features: FloatArray) -> FloatArray:
        """Return the standard deviation among members as it is, shape ``(n_sites, points)``."""
        spectra = [member.predict(features).mean for member in self.members]
        spread: FloatArray = np.std(spectra, axis=0, ddof=1)
        return spread

    def correlation(self, features: FloatArray) -> FloatArray:
        """Return the mean of what the members say, shape ``(n_sites, n_sites)``."""
        correlation: FloatArray = np.mean(
            [member.correlation(features) for member in self.members], axis=0
        )
        return correlation

    def to_bytes(self) -> bytes:
        """Return the weights as one safetensors file, each member's under its number."""
        bars = {} if self.bars is None else self.bars.to_arrays()
        members = {str(number): member for number, member in enumerate(self.members)}
        own = {"mean": self.mean, **{f"bars_{key}": array for key, array in bars.items()}}
        return pack(members, {"facts": self.facts}, own)

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
            mean = own.pop("mean")
            bars = {key.removeprefix("bars_"): array for key, array in own.items()}
            head = cls(
                members=tuple(members.values()),
                mean=mean,
                bars=ErrorBars.from_arrays(bars) if bars else None,
                facts=described["facts"],
            )
            if mean.shape != (head.points,) or (
                head.bars is not None and head.bars.factor.shape != mean.shape
            ):
                raise ValueError("the arrays differ in shape")
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(
                f"The ensemble's weights cannot be read ({error}): the file is cut short or "
                "damaged."
            ) from None
        return head


def _parents(
    parent: Head | None, options: EnsembleOptions, seed: int
) -> tuple[Sequence[Head | None], int | None]:
    """Return what each member starts from, and the seed of the folds; None leaves nothing out."""
    if not isinstance(parent, EnsembleHead):
        return [parent] * options.members, seed if parent is None else None
    asked = (options.members, options.folds)
    known = (len(parent.members), int(parent.facts["folds"]))
    if asked != known:
        raise ModelError(
            f"The parent has {known[0]} members on {known[1]} folds and the ensemble would have "
            f"{asked[0]} on {asked[1]}: take as many."
        )
    fold_seed = int(parent.facts["fold_seed"])
    return parent.members, None if fold_seed < 0 else fold_seed


def _left_out_rows(
    rows: TrainingRows, options: EnsembleOptions, seed: int | None
) -> list[IntArray]:
    """Return the rows that each member leaves out, whole materials of them."""
    nothing = np.empty(0, dtype=np.intp)
    materials = rows_of_groups(rows.groups)
    if seed is None or options.folds == 0:
        return [nothing] * options.members
    names = [rows.groups[numbers[0]] for numbers in materials]
    left_out: list[IntArray] = []
    for turn in range(options.members // options.folds):
        fold_of = [int(chance_of(f"{turn} {name}", seed) * options.folds) for name in names]
        for fold in range(options.folds):
            parts = [m for m, own in zip(materials, fold_of, strict=True) if own == fold]
            left_out.append(np.sort(np.concatenate([nothing, *parts])))
    most = max(len(numbers) for numbers in left_out)
    enough = len(rows.features) - most >= FEWEST_ROWS
    return left_out if enough else [nothing] * options.members


def _judge(
    members: Sequence[Head], rows: TrainingRows, left_out: Sequence[IntArray]
) -> tuple[ErrorBars | None, HeadPrediction | None]:
    """Return error bars, and each row as the members predict it that left its material out."""
    times = np.bincount(np.concatenate(left_out), minlength=len(rows.features))
    often = int(times.min())
    if often == 0:
        return None, None
    found: list[list[HeadPrediction]] = [[] for _ in rows.features]
    for member, without in zip(members, left_out, strict=True):
        predicted = member.predict(rows.features[without])
        for row, mean, std, distance in zip(
            without, predicted.mean, predicted.std, predicted.distance, strict=True
        ):
            found[row].append(HeadPrediction(mean[None], std[None], np.array([distance])))
    signals = np.concatenate([_signals(one, 2 if often > 1 else 1) for one in found])
    mean = np.stack([np.mean([p.mean[0] for p in one], axis=0) for one in found])
    distance = np.array([min(p.distance[0] for p in one) for one in found])
    errors = rows.targets - mean
    bars = ErrorBars.fit(errors, signals, rows.groups)
    judged = HeadPrediction(mean, bars.std(signals), distance)
    if often > 1:
        # What the members have in common stays; the rest is averaged over all of them, not `often`.
        weights = row_weights(rows_of_groups(rows.groups))
        spread, total = weights @ signals[:, 1] ** 2, weights @ np.mean(errors**2, axis=1)
        averaged = spread * (1.0 / often - 1.0 / len(members))
        share = max(1.0 - averaged / total, 0.5) if total > 0 else 1.0
        bars = replace(bars, factor=bars.factor * np.sqrt(share))
    return bars, judged


def _own_std(found: Sequence[HeadPrediction]) -> FloatArray:
    own: FloatArray = np.sqrt(np.mean([one.std**2 for one in found], axis=0))
    return own


def _signals(found: Sequence[HeadPrediction], count: int) -> FloatArray:
    """Return what bars hang on, shape ``(m, count)``: own deviations, and the members' spread."""
    signals = [np.sqrt(np.mean(_own_std(found) ** 2, axis=1))]
    if count > 1:
        spread = np.var([one.mean for one in found], axis=0, ddof=1)
        signals.append(np.sqrt(np.mean(spread, axis=1)))
    return np.stack(signals, axis=1)
