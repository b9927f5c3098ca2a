"""Training an autoencoder of styles; one that is killed goes on where it was, to the same end."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nearedge.errors import ModelError
from nearedge.models.styles.autoencoder import Autoencoder, StyleModel, discriminator, resampled
from nearedge.models.styles.losses import (
    adversarial,
    dependence,
    rank_constraint,
    roughness,
    round_trip,
    smoothing,
)
from nearedge.models.styles.options import StyleOptions
from nearedge.spectra.spectrum import FloatArray

LOSSES = ("reconstruction", "adversary", "rank", "independence", "round_trip", "smoothness")
_CHECKPOINT = "styles.pt"
EPOCHS_BETWEEN_CHECKPOINTS = 5
_WARM_UP = 0.1
"""Share of the epochs over which learning rate and adversary come to their full strength."""
_TAIL = 0.2
"""Share of the grid, at its end, over which the mean absorption is taken for the edge step."""


@dataclass(frozen=True, eq=False)
class StyleRows:
    """Spectra and the descriptors of their sites.

    Parameters
    ----------
    spectra
        Shape ``(n, points)``, on one uniform grid, in one unit.
    descriptors
        Shape ``(n, len(names))``; NaN where one is not defined.
    names
        What the descriptors are called.
    """

    spectra: FloatArray
    descriptors: FloatArray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.descriptors.shape != (len(self.spectra), len(self.names)):
            raise ModelError(
                f"Descriptors of shape {self.descriptors.shape} do not belong to "
                f"{len(self.spectra)} spectra and {len(self.names)} names."
            )
        if not np.all(np.isfinite(self.spectra)):
            raise ModelError("A spectrum holds a number that is not finite.")


def train_styles(
    rows: StyleRows,
    options: StyleOptions | None = None,
    *,
    seed: int = 0,
    checkpoints: Path | None = None,
) -> tuple[StyleModel, dict[str, list[float]]]:
    """Train an autoencoder whose first styles follow the descriptors, in their order.

    Parameters
    ----------
    seed
        Of every random choice: the same seed gives the same model on the same machine.
    checkpoints
        A folder for what a killed training goes on from; None keeps nothing. What was left there
        by a training on other spectra, options or seed is not used.

    Returns
    -------
    tuple
        The model, and each of `LOSSES` to its mean in every epoch.

    Raises
    ------
    ModelError
        If there are fewer spectra than a batch needs, fewer styles than descriptors, or a
        descriptor that never differs.
    """
    options = options or StyleOptions()
    points = rows.spectra.shape[1]
    options = options.model_copy(update={"points": options.points or points})
    _check(rows, options)
    scale = _edge_step(rows.spectra)
    spectra = torch.tensor(resampled(rows.spectra / scale, options.points), dtype=torch.float32)
    descriptors = torch.tensor(rows.descriptors, dtype=torch.float32)
    with _alone(seed):
        training = _Training(options)
        file = None if checkpoints is None else checkpoints / _CHECKPOINT
        identity = _identity(rows, options, seed)
        training.resume(file, identity)
        while training.epoch < options.epochs:
            training.run_epoch(spectra, descriptors)
            if file is not None and training.epoch % EPOCHS_BETWEEN_CHECKPOINTS == 0:
                training.save(file, identity)
        training.network.settle(spectra)
    if file is not None:
        file.unlink(missing_ok=True)
    return StyleModel(training.network, options, rows.names, scale, points), training.history


class _Training:
    """Networks, optimiser and losses so far."""

    def __init__(self, options: StyleOptions) -> None:
        self.options = options
        self.epoch = 0
        self.history: dict[str, list[float]] = {name: [] for name in LOSSES}
        self.network = Autoencoder(options)
        self.judge = discriminator(options)
        self._smooths = smoothing(options.points)
        self._parts = nn.ModuleList([self.network, self.judge])
        self._optimiser = torch.optim.AdamW(
            self._parts.parameters(), lr=0.0, weight_decay=options.weight_decay, fused=True
        )

    def run_epoch(self, spectra: Tensor, descriptors: Tensor) -> None:
        """Take one step on each batch of spectra; a rest smaller than half a batch joins none."""
        self._parts.train()
        self._set_learning_rate()
        order = torch.randperm(len(spectra))
        parts = torch.split(order, self.options.batch)
        batches = [each for each in parts if 2 * len(each) >= self.options.batch]
        sums = torch.zeros(len(LOSSES))
        for numbers in batches or [order]:
            losses = self._losses(spectra[numbers], descriptors[numbers])
            self._optimiser.zero_grad()
            (losses * self._weights()).sum().backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            sums += losses.detach()
        for name, value in zip(LOSSES, (sums / max(len(batches), 1)).tolist(), strict=True):
            self.history[name].append(value)
        self.epoch += 1

    def _losses(self, spectra: Tensor, descriptors: Tensor) -> Tensor:
        noisy = spectra + self.options.noise * torch.randn_like(spectra)
        styles = self.network.encoder(noisy)
        drawn = torch.randn(len(spectra), self.options.styles)
        decoded = self.network.decoder(drawn)
        reversal = self.options.reversal * min(1.0, self._progress() / _WARM_UP)
        return torch.stack(
            [
                functional.mse_loss(self.network.decoder(styles), spectra),
                adversarial(self.judge, styles, drawn, reversal),
                rank_constraint(styles[:, : descriptors.shape[1]], descriptors),
                dependence(styles),
                round_trip(self.network.encoder, drawn, decoded),
                roughness(decoded, self._smooths),
            ]
        )

    def _weights(self) -> Tensor:
        given = self.options
        return torch.tensor(
            [
                given.reconstruction_weight,
                given.adversary_weight,
                given.rank_weight,
                given.independence_weight,
                given.round_trip_weight,
                given.smoothness_weight,
            ]
        )

    def _progress(self) -> float:
        return float(self.epoch + 1) / self.options.epochs

    def _set_learning_rate(self) -> None:
        """Rise from zero, then fall to zero as a cosine does."""
        progress = self._progress()
        rise = min(1.0, progress / _WARM_UP)
        fall = 0.5 * (1.0 + math.cos(math.pi * max(0.0, progress - _WARM_UP) / (1.0 - _WARM_UP)))
        for group in self._optimiser.param_groups:
            group["lr"] = self.options.learning_rate * rise * fall

    def save(self, file: Path, identity: str) -> None:
        """Write everything that the next epoch hangs on; the file is whole at any time."""
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".draft")
        content = {
            "identity": identity,
            "epoch": self.epoch,
            "history": self.history,
            "networks": self._parts.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(content, draft)
        draft.replace(file)

    def resume(self, file: Path | None, identity: str) -> None:
        """Go on from a checkpoint of this very training, if there is one."""
        if file is None or not file.exists():
            return
        found: Mapping[str, Any] = torch.load(file, weights_only=True)
        if found["identity"] != identity:
            return
        self.epoch, self.history = found["epoch"], found["history"]
        self._parts.load_state_dict(found["networks"])
        self._optimiser.load_state_dict(found["optimiser"])
        torch.set_rng_state(found["random"])


@contextmanager
def _alone(seed: int) -> Iterator[None]:
    """Compute on one thread from `seed` on, and leave torch's own state as it was."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def _check(rows: StyleRows, options: StyleOptions) -> None:
    if len(rows.spectra) < 8:
        raise ModelError(
            f"Styles need at least eight spectra to learn from, and there are {len(rows.spectra)}."
        )
    if len(rows.names) > options.styles:
        raise ModelError(
            f"{len(rows.names)} descriptors need as many styles at least, not {options.styles}."
        )
    for name, values in zip(rows.names, rows.descriptors.T, strict=True):
        if len(np.unique(values[np.isfinite(values)])) < 2:
            raise ModelError(
                f"The descriptor {name} has fewer than two different values among "
                f"{len(values)} sites, so that nothing can be ranked by it: leave it out."
            )


def _edge_step(spectra: FloatArray) -> float:
    """Return the mean absorption over the end of the grid: what the edge rises to."""
    last = max(1, round(_TAIL * spectra.shape[1]))
    step = float(spectra[:, -last:].mean())
    if not step > 0:
        raise ModelError("The spectra have no absorption above the edge: they cannot be scaled.")
    return step


def _identity(rows: StyleRows, options: StyleOptions, seed: int) -> str:
    """Return a hash of all that a training hangs on."""
    digest = hashlib.sha256()
    for array in (rows.spectra, rows.descriptors):
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    digest.update(f"{rows.names} {options.model_dump_json()} {seed} {torch.__version__}".encode())
    return digest.hexdigest()
