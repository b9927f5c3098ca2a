"""What a training must know to stop at the right time, and to go on after it was killed."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from nearedge.errors import ModelError
from nearedge.models.training.options import TrainingOptions

CHECKPOINT = "training.ckpt"
SAVE_SECONDS = 10.0
"""A checkpoint is written after the first epoch that ends this long after the last one."""


class Progress(Callback):
    """Keeps the losses and the best weights, ends the training, and writes checkpoints.

    Parameters
    ----------
    options
        Patience and plateau.
    seed
        Each epoch draws from a random state made of it and the epoch's number, so that a training
        that goes on draws what an uninterrupted one would have drawn.
    fingerprint
        Of everything that decides the losses: a checkpoint of another training is refused.
    folder
        For the checkpoint; None writes none.
    """

    def __init__(
        self, options: TrainingOptions, seed: int, fingerprint: str, folder: Path | None
    ) -> None:
        self.losses: dict[str, list[float]] = {"train_loss": [], "validation_loss": []}
        self.best_epoch = -1
        self.best_loss = float("inf")
        self.best: dict[str, torch.Tensor] = {}
        self.finished = False
        self.learning_rate = 0.0
        self._options, self._seed = options, seed
        self._fingerprint, self._folder = fingerprint, folder
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._saved = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watch the learning rate, where it was left."""
        if self._options.plateau:
            self._plateau = ReduceLROnPlateau(
                trainer.optimizers[0], factor=0.5, patience=self._options.plateau
            )
            if self._plateau_state is not None:
                self._plateau.load_state_dict(self._plateau_state)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what this epoch draws, whatever was drawn before."""
        torch.manual_seed(self._seed * 1_000_003 + trainer.current_epoch)

    def end_epoch(
        self, trainer: Trainer, module: LightningModule, losses: dict[str, float]
    ) -> None:
        """Take the losses of an epoch; stop, or write a checkpoint, if it is time.

        Raises
        ------
        ModelError
            If the loss is not a finite number.
        """
        watched = losses.get("validation_loss", losses["train_loss"])
        if not math.isfinite(watched):
            raise ModelError(
                f"The training loss is no number after {trainer.current_epoch + 1} epochs: choose "
                "a smaller learning rate."
            )
        for name, value in losses.items():
            self.losses[name].append(value)
        if watched < self.best_loss:
            self.best_loss, self.best_epoch = watched, trainer.current_epoch
            self.best = {
                key: value.detach().cpu().clone() for key, value in module.state_dict().items()
            }
        if self._plateau is not None:
            self._plateau.step(watched)
        out_of_patience = trainer.current_epoch - self.best_epoch >= self._options.patience
        self.finished = out_of_patience or trainer.current_epoch + 1 >= self._options.max_epochs
        trainer.should_stop = trainer.should_stop or out_of_patience
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if self._folder is None:
            return
        if self.finished or time.monotonic() - self._saved >= SAVE_SECONDS:
            # Written beside and renamed by Lightning: a kill never leaves half a checkpoint.
            trainer.save_checkpoint(self._folder / CHECKPOINT)
            self._saved = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {
            "losses": self.losses,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "best": self.best,
            "finished": self.finished,
            "learning_rate": self.learning_rate,
            "fingerprint": self._fingerprint,
            "plateau": None if self._plateau is None else self._plateau.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.losses = state_dict["losses"]
        self.best_epoch, self.best_loss = state_dict["best_epoch"], state_dict["best_loss"]
        self.best, self.finished = state_dict["best"], state_dict["finished"]
        self.learning_rate = state_dict["learning_rate"]
        self._plateau_state = state_dict["plateau"]

    def resume(self) -> Path | None:
        """Read the checkpoint, if there is one.

        Returns
        -------
        Path or None
            The checkpoint to go on from.

        Raises
        ------
        ModelError
            If it is damaged, or another training's.
        """
        path = None if self._folder is None else self._folder / CHECKPOINT
        if path is None or not path.exists():
            return None
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            state = content["callbacks"][self.state_key]
            known = state["fingerprint"] == self._fingerprint
            self.load_state_dict(state)
        # torch raises many kinds here; all of them mean that this is no checkpoint of ours.
        except Exception as error:
            raise ModelError(
                f"The checkpoint {path} cannot be read ({type(error).__name__}): delete it, and "
                "the training begins anew."
            ) from None
        if not known:
            raise ModelError(
                f"The checkpoint {path} is of another training (other rows, options or seed): "
                "name another folder, or delete it."
            )
        return path
