"""M3GNet and a spectrum network trained together, from structures to spectra.

It starts from the published M3GNet and a network trained on its frozen features, and then moves
both at a small learning rate. What comes out is a featurizer of its own, with its own weights, and
a head on its features: `EndToEndHead.featurizer` computes what `EndToEndHead.predict` takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from safetensors import SafetensorError

from nearedge.errors import ModelError
from nearedge.models.featurizers.m3gnet_blocks import M3GNetBlocks
from nearedge.models.featurizers.m3gnet_own import OwnM3GNet, weights_sha256
from nearedge.models.heads import head_kind
from nearedge.models.heads.base import Fitted, HeadPrediction, TrainingRows
from nearedge.models.heads.end_to_end_training import Both, Places, Sites
from nearedge.models.heads.members import Settings, member_options, pack, read_settings, unpack
from nearedge.models.heads.network import NetworkHead
from nearedge.models.training.data import IntArray, held_out_rows
from nearedge.models.training.options import TrainingOptions
from nearedge.models.training.trainer import train
from nearedge.models.uncertainty.signal_bars import ErrorBars
from nearedge.spectra.spectrum import FloatArray

Scalar = bool | int | float | str
FROZEN = -1
"""The best epoch of a training that gained nothing."""


class EndToEndOptions(TrainingOptions):
    """Of the second stage; the first has the options of the head that it starts from."""

    batch_size: int = Field(default=16, ge=2, description="Structures per step.")
    max_epochs: int = Field(default=20, ge=1)
    patience: int = Field(default=5, ge=1)
    learning_rate: float | None = Field(default=2e-4, gt=0, description="Of both networks.")
    kind: str = Field(default="residual", description="Of the network on the features.")
    settings: Settings = Field(default="{}", description="Its options as JSON.")


@dataclass(frozen=True, eq=False)
class EndToEndHead:
    """A trained M3GNet with its head. Make it by `fit_structures`.

    Parameters
    ----------
    blocks
        Names of M3GNet's blocks that the features are made of.
    state
        M3GNet's parameters.
    head
        The network on the features.
    facts
        What the model card records.
    """

    name: ClassVar[str] = "end_to_end"
    fine_tunes: ClassVar[bool] = False
    options: ClassVar[type[BaseModel]] = EndToEndOptions

    blocks: tuple[str, ...]
    state: dict[str, NDArray[Any]]
    head: NetworkHead
    facts: dict[str, Scalar]

    @classmethod
    def fit(cls, rows: TrainingRows, *_: object, **__: object) -> NoReturn:
        """Refuse: features are not enough to learn from; see `fit_structures`.

        Raises
        ------
        ModelError
            Always.
        """
        raise ModelError(
            f"An {cls.name} model learns from structures, not from {rows.features.shape[1]} "
            "features: train a residual or xasblock model, or use fit_structures."
        )

    @classmethod
    def fit_structures(
        cls,
        rows: TrainingRows,
        sites: Sites,
        model: M3GNetBlocks,
        options: EndToEndOptions | None = None,
        *,
        seed: int = 0,
        checkpoints: Path | None = None,
    ) -> Fitted[Self]:
        """Train a network on frozen features, then M3GNet with it.

        Where that predicts the materials held out no better than the frozen features did, those are
        what is returned, with a `best_epoch` of -1.

        Parameters
        ----------
        rows
            Spectra, materials, and the features that `model` gives for the sites.
        sites
            Where each row is.
        model
            M3GNet as it is published; it is not changed.
        seed, checkpoints
            As in `Head.fit`.

        Raises
        ------
        ModelError
            If rows and sites do not belong together, or the head is no network.
        """
        chosen = options or EndToEndOptions()
        if not len(rows.features) == len(sites.structure) == len(sites.site):
            raise ModelError(
                f"{len(rows.features)} rows and {len(sites.site)} sites do not belong together."
            )
        first = member_options(chosen.kind, read_settings(chosen.settings))
        start = head_kind(chosen.kind).fit(
            rows,
            first,
            seed=seed,
            checkpoints=None if checkpoints is None else checkpoints / "frozen",
        )
        if not (isinstance(start.head, NetworkHead) and isinstance(first, TrainingOptions)):
            raise ModelError(f"A {chosen.kind} model is no network: choose residual or xasblock.")
        # The same materials as the frozen stage holds out: else its network would know them.
        held = held_out_rows(rows.groups, first.validation_share, seed)
        both = Both(model, start.head)
        graphs = [model.graph([structure]) for structure in sites.structures]
        wanted = start.head.scaling.wanted(rows.targets)
        known = np.setdiff1d(np.arange(len(rows.features)), held)
        folder = None if checkpoints is None else checkpoints / "together"
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        trained = train(
            both,
            Places.of(graphs, sites, wanted, known),
            Places.of(graphs, sites, wanted, held) if len(held) else None,
            chosen,
            seed=seed,
            checkpoints=folder,
            chunk=chosen.batch_size,
        )
        gained = len(held) == 0 or _best(trained.losses) < _best(start.history)
        if not gained:
            both = Both(model, start.head)
        features = both.features(graphs, sites)
        facts: dict[str, Scalar] = {
            **{key: value for key, value in chosen.model_dump().items() if value is not None},
            **{f"frozen.{key}": value for key, value in start.head.facts.items()},
            "epochs": len(trained.losses["train_loss"]),
            "best_epoch": trained.best_epoch if gained else FROZEN,
            "training_seed": seed,
        }
        head = cls(
            blocks=model.blocks,
            state={k: v.numpy() for k, v in both.model.state_dict().items()},
            head=_tuned(start.head, both, rows, features, held),
            facts=facts,
        )
        history = {f"frozen.{name}": losses for name, losses in start.history.items()}
        history |= {f"together.{name}": losses for name, losses in trained.losses.items()}
        return Fitted(head, None, history)

    @cached_property
    def featurizer(self) -> OwnM3GNet:
        """What computes the features that `predict` takes."""
        model = M3GNetBlocks(self.blocks)
        model.load_state_dict({key: torch.from_numpy(value) for key, value in self.state.items()})
        return OwnM3GNet(model.eval().requires_grad_(False), weights_sha256(self.state))

    @property
    def mean(self) -> FloatArray:
        """Mean training spectrum, shape ``(points,)``."""
        return self.head.mean

    @classmethod
    def tells_left_out(cls, options: EndToEndOptions | None = None) -> bool:
        """It does not, nor can it be trained with folds."""
        return False

    @property
    def size(self) -> int:
        """Features per site that it takes."""
        return self.head.size

    @property
    def points(self) -> int:
        """Energies that it predicts."""
        return self.head.points

    @property
    def hyperparameters(self) -> dict[str, Scalar]:
        """What the model card records."""
        return dict(self.facts)

    def predict(self, features: FloatArray) -> HeadPrediction:
        """Predict the spectra of sites with features from the head's own `featurizer`."""
        return self.head.predict(features)

    def correlation(self, features: FloatArray) -> FloatArray:
        """Return how the errors of sites hang together, shape ``(n_sites, n_sites)``."""
        return self.head.correlation(features)

    def to_bytes(self) -> bytes:
        """Return both networks' weights as one safetensors file."""
        own = {key.replace(".", "/"): value for key, value in self.state.items()}
        described = {"blocks": list(self.blocks), "facts": self.facts}
        return pack({"head": self.head}, described, own)

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
            inner = members["head"]
            if not isinstance(inner, NetworkHead):
                raise ValueError("its head is no network")
            head = cls(
                blocks=tuple(described["blocks"]),
                state={key.replace("/", "."): value for key, value in own.items()},
                head=inner,
                facts=described["facts"],
            )
            if head.featurizer.ref.size != head.size:
                raise ValueError("the arrays differ in shape")
        # torch raises RuntimeError for parameters of another shape.
        except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
            first_line = str(error).strip().splitlines()[0] if str(error).strip() else "unknown"
            raise ModelError(
                f"The model's weights cannot be read ({first_line[:120]}): the file is cut short "
                "or damaged."
            ) from None
        return head


def _best(losses: Mapping[str, Sequence[float]]) -> float:
    """Return the smallest loss on the materials held out."""
    return min(losses["validation_loss"])


def _tuned(
    start: NetworkHead, both: Both, rows: TrainingRows, features: FloatArray, held: IntArray
) -> NetworkHead:
    """Return the head with the network after training, and bars from materials held out."""
    inputs = start.scaling.inputs(features).numpy()
    learned = np.setdiff1d(np.arange(len(features)), held)
    head = replace(start, network=both.network, known=inputs[learned])
    if len(held) == 0:
        return head
    found = head.predict(features[held])
    groups = [rows.groups[number] for number in held]
    bars = ErrorBars.fit(rows.targets[held] - found.mean, found.distance[:, None], groups)
    return replace(head, bars=bars)
