"""What all heads that are one network share: scaling, training, error bars, files."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy.spatial.distance import cdist
from torch import nn

from nearedge.errors import ModelError
from nearedge.models.heads.base import Fitted, Head, HeadPrediction, TrainingRows
from nearedge.models.training.data import IntArray, Pairs, held_out_rows
from nearedge.models.training.options import TrainingOptions
from nearedge.models.training.trainer import Trained, train
from nearedge.models.uncertainty.signal_bars import ErrorBars
from nearedge.spectra.spectrum import FloatArray

ERROR_LENGTH = 33.0 / 64.0
"""Errors of two sites hang together as ``exp(-d/length)``, d their distance as in `HeadPrediction`:
the Laplacian that predicts spectra of Cu sites best from 64 M3GNet features."""
FEWEST_ROWS = 2
"""To learn from, beside the rows held out."""
_CHUNK = 2000
_DESCRIPTION = "description"
_SHAPE = ("size", "points", "element_column", "fidelity_column")

Scalar = bool | int | float | str


class SpectrumNetwork(nn.Module):
    """A network from scaled features to scaled spectra, and what it was built with.

    Parameters
    ----------
    arguments
        Of the constructor of the class that derives from it: numbers, strings and lists of them.
    """

    def __init__(self, arguments: Mapping[str, Scalar | list[int]]) -> None:
        super().__init__()
        self.arguments = dict(arguments)


@dataclass(frozen=True, eq=False)
class Scaling:
    """How features and spectra are scaled before and after a network.

    Parameters
    ----------
    center, scale
        Subtracted from, and dividing, the features, shape ``(size,)`` each.
    offset, unit
        A network's output times `unit` plus `offset` is a spectrum, shape ``(points,)`` each.
    """

    center: FloatArray
    scale: FloatArray
    offset: FloatArray
    unit: FloatArray

    def inputs(self, features: FloatArray) -> torch.Tensor:
        """Return what the network sees."""
        return torch.from_numpy(((features - self.center) / self.scale).astype(np.float32))

    def wanted(self, targets: FloatArray) -> torch.Tensor:
        """Return what the network should answer."""
        return torch.from_numpy(((targets - self.offset) / self.unit).astype(np.float32))

    def spectra(self, outputs: torch.Tensor) -> FloatArray:
        """Return spectra from the network's answers; negative absorption is set to zero."""
        answers = outputs.numpy().astype(np.float64)
        spectra: FloatArray = np.maximum(answers * self.unit + self.offset, 0.0)
        return spectra


def feature_scaling(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of each feature; one where it does not vary."""
    center, scale = features.mean(axis=0), features.std(axis=0)
    return center, np.where(scale > 1e-9 * (1.0 + np.abs(center)), scale, 1.0)


@dataclass(frozen=True, eq=False)
class NetworkHead(ABC):
    """A trained network. Make it by `fit`.

    Parameters
    ----------
    network
        From scaled features to scaled spectra.
    scaling
        Before and after it.
    mean
        Mean training spectrum, shape ``(points,)``.
    known
        Scaled features of the rows that it was trained with, without those held out, shape
        ``(n, size)``.
    bars
        Its error bars; their one signal is the distance to the nearest of `known`.
    facts
        What the model card records of options and training.
    """

    name: ClassVar[str]
    fine_tunes: ClassVar[bool] = True
    options: ClassVar[type[BaseModel]]
    kind_of_network: ClassVar[type[SpectrumNetwork]]

    network: SpectrumNetwork
    scaling: Scaling
    mean: FloatArray
    known: NDArray[np.float32]
    bars: ErrorBars
    facts: dict[str, Scalar]

    @classmethod
    @abstractmethod
    def _defaults(cls) -> TrainingOptions:
        """Return the options where none are given."""

    @classmethod
    @abstractmethod
    def _new_network(
        cls, rows: TrainingRows, options: TrainingOptions, parent: Self | None
    ) -> SpectrumNetwork:
        """Return a network with random weights, or a copy of the parent's."""

    @classmethod
    @abstractmethod
    def _new_scaling(cls, rows: TrainingRows) -> Scaling:
        """Choose a scaling for a network without a parent."""

    @classmethod
    def fit(
        cls,
        rows: TrainingRows,
        options: TrainingOptions | None = None,
        *,
        seed: int = 0,
        parent: Head | None = None,
        checkpoints: Path | None = None,
    ) -> Fitted[Self]:
        """Train on sites and their spectra; see `Head.fit`.

        A tenth of the materials is held out to stop by, and to fit error bars to; with a parent,
        those that the parent held out too.
        """
        chosen = options or cls._defaults()
        start = cls._checked_parent(rows, parent)
        # What the parent has seen tells nothing of how the child does on materials not seen.
        held_seed = seed if start is None else int(start.facts["held_out_seed"])
        held = held_out_rows(rows.groups, chosen.validation_share, held_seed)
        learned = np.setdiff1d(np.arange(len(rows.features)), held)
        if len(learned) < FEWEST_ROWS:
            held, learned = np.empty(0, dtype=np.intp), np.arange(len(rows.features))
        scaling = cls._new_scaling(rows.take(learned)) if start is None else start.scaling
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = cls._new_network(rows, chosen, start)
        inputs, wanted = scaling.inputs(rows.features), scaling.wanted(rows.targets)
        if checkpoints is not None:
            checkpoints.mkdir(parents=True, exist_ok=True)
        trained = train(
            network,
            Pairs(inputs[learned], wanted[learned]),
            Pairs(inputs[held], wanted[held]) if len(held) else None,
            chosen,
            seed=seed,
            rate=None if start is None else chosen.fine_tuning_rate,
            noise=start is None or chosen.fine_tuning_noise,
            checkpoints=checkpoints,
        )
        head = cls(
            network=network,
            scaling=scaling,
            mean=rows.targets.mean(axis=0),
            known=inputs[learned].numpy(),
            bars=ErrorBars.of_spread(rows.targets, 1),
            facts={
                **_facts(network, chosen, trained),
                "training_seed": seed,
                "held_out_seed": held_seed,
                "fine_tuned": start is not None,
            },
        )
        return Fitted(head._with_bars(rows, held), None, trained.losses)

    @classmethod
    def _checked_parent(cls, rows: TrainingRows, parent: Head | None) -> Self | None:
        if parent is None:
            return None
        if not isinstance(parent, cls):
            raise ModelError(
                f"A {cls.name} model cannot be fine-tuned from a {parent.name} model: name a "
                f"parent of the kind {cls.name}."
            )
        shape = (rows.features.shape[1], rows.targets.shape[1])
        if (parent.size, parent.points) != shape:
            raise ModelError(
                f"The parent turns {parent.size} features into {parent.points} energies, and the "
                f"training set has {shape[0]} and {shape[1]}: use the parent's featurizer and grid."
            )
        return parent

    def _with_bars(self, rows: TrainingRows, held: IntArray) -> Self:
        if len(held) == 0:
            return self
        groups = [rows.groups[number] for number in held]
        return self.with_bars_of(rows.targets[held], groups, self.predict(rows.features[held]))

    def with_bars_of(
        self, targets: FloatArray, groups: Sequence[Hashable], found: HeadPrediction
    ) -> Self:
        """Return the head with error bars fitted to predictions of rows not learned.

        Parameters
        ----------
        targets
            Shape ``(rows, points)``.
        groups
            The material of each row.
        found
            What was predicted for these rows.
        """
        bars = ErrorBars.fit(targets - found.mean, found.distance[:, None], groups)
        return replace(self, bars=bars)

    @classmethod
    def tells_left_out(cls, options: TrainingOptions | None = None) -> bool:
        """Not by one training: it takes folds."""
        return False

    @property
    def size(self) -> int:
        """Features per site that it takes."""
        return len(self.scaling.center)

    @property
    def points(self) -> int:
        """Energies that it predicts."""
        return len(self.mean)

    @property
    def hyperparameters(self) -> dict[str, Scalar]:
        """What the model card records."""
        return dict(self.facts)

    def predict(self, features: FloatArray) -> HeadPrediction:
        """Predict spectra; negative absorption, which has no meaning, is set to zero.

        Parameters
        ----------
        features
            Shape ``(m, size)``, from the featurizer that the training features came from.
        """
        parts = [self._predict(part) for part in self._inputs(features)]
        outputs = torch.cat([output for output, _ in parts])
        distance = np.concatenate([distance for _, distance in parts])
        std = self.bars.std(distance[:, None])
        return HeadPrediction(self.scaling.spectra(outputs), std, distance)

    def _predict(self, inputs: torch.Tensor) -> tuple[torch.Tensor, FloatArray]:
        with torch.no_grad():
            outputs = self.network(inputs)
        distances = cdist(inputs.numpy(), self.known, "cityblock") / self.size
        return outputs, distances.min(axis=1)

    def correlation(self, features: FloatArray) -> FloatArray:
        """Return ``exp(-d/0.516)``, d the mean difference of the scaled features of two sites.

        A network does not say how its errors hang together. Equivalent sites have equal features,
        so their errors are equal; those of sites apart are taken for as alike as their spectra.
        """
        inputs = torch.cat(list(self._inputs(features))).numpy()
        distances = cdist(inputs, inputs, "cityblock") / self.size
        correlation: FloatArray = np.exp(-distances / ERROR_LENGTH)
        return correlation

    def _inputs(self, features: FloatArray) -> Iterator[torch.Tensor]:
        if features.ndim != 2 or features.shape[1] != self.size:
            raise ModelError(
                f"The model takes {self.size} features per site, not an array of shape "
                f"{features.shape}: use the featurizer that its card names."
            )
        if not np.all(np.isfinite(features)):
            raise ModelError("A feature is not a finite number: look at the structure.")
        for start in range(0, max(len(features), 1), _CHUNK):
            yield self.scaling.inputs(features[start : start + _CHUNK])

    def to_bytes(self) -> bytes:
        """Return the weights as a safetensors file; the same model gives the same bytes."""
        described = json.dumps({"arguments": self.network.arguments, "facts": self.facts})
        arrays: dict[str, NDArray[Any]] = {
            _DESCRIPTION: np.frombuffer(described.encode(), dtype=np.uint8),
            "mean": self.mean,
            "known": np.ascontiguousarray(self.known),
            **{f"scaling.{key}": value for key, value in vars(self.scaling).items()},
            **{f"bars.{key}": value for key, value in self.bars.to_arrays().items()},
            **{f"network.{key}": v.numpy() for key, v in self.network.state_dict().items()},
        }
        return bytes(save({key: np.ascontiguousarray(value) for key, value in arrays.items()}))

    @classmethod
    def from_bytes(cls, weights: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ModelError
            If it is cut short, lacks an array, or the shapes do not fit.
        """
        try:
            arrays = load(weights)
            described = json.loads(arrays[_DESCRIPTION].tobytes())
            network = cls.kind_of_network(**described["arguments"])
            state = {k: torch.from_numpy(v) for k, v in _part(arrays, "network").items()}
            network.load_state_dict(state)
            head = cls(
                network=network.eval(),
                scaling=Scaling(**_part(arrays, "scaling")),
                mean=arrays["mean"],
                known=arrays["known"],
                bars=ErrorBars.from_arrays(_part(arrays, "bars")),
                facts=described["facts"],
            )
            head._check()
        # torch raises RuntimeError for weights of another shape.
        except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
            first_line = str(error).strip().splitlines()[0] if str(error).strip() else "unknown"
            raise ModelError(
                f"The model's weights cannot be read ({first_line[:120]}): the file is cut short "
                "or damaged."
            ) from None
        return head

    def _check(self) -> None:
        """Raise ValueError if arrays do not belong together."""
        points, size = self.mean.shape, self.scaling.center.shape
        shapes = (self.scaling.offset, self.scaling.unit, self.bars.factor)
        if any(array.shape != points for array in shapes) or self.scaling.scale.shape != size:
            raise ValueError("the arrays differ in shape")
        if self.known.ndim != 2 or self.known.shape[1:] != size or len(self.known) == 0:
            raise ValueError("the training rows have another shape")
        with torch.no_grad():
            answer = self.network(torch.from_numpy(self.known[:1]))
        if answer.shape != (1, *points) or not bool(torch.isfinite(answer).all()):
            raise ValueError("the network gives no spectrum")


def _part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def _facts(
    network: SpectrumNetwork, options: TrainingOptions, trained: Trained
) -> dict[str, Scalar]:
    given = {key: value for key, value in options.model_dump().items() if value is not None}
    # A parent's network is kept, whatever the options say.
    built = {
        key: "-".join(map(str, value)) if isinstance(value, list) else value
        for key, value in network.arguments.items()
        if key not in _SHAPE and value != []
    }
    return {
        **given,
        **built,
        "learning_rate": trained.learning_rate,
        "epochs": len(trained.losses["train_loss"]),
        "best_epoch": trained.best_epoch,
    }
