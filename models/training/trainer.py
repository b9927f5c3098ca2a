"""The training loop that all networks share, by Lightning.

Adam on the mean squared error, a learning rate from a range test, early stopping on materials kept
aside, the best epoch's weights: as OmniXAS trains (arXiv:2409.19552).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.tuner.tuning import Tuner
from torch import nn

from nearedge.models.training.data import Batch, Batches, Chunks, Examples
from nearedge.models.training.options import TrainingOptions
from nearedge.models.training.progress import Progress

SMALLEST_RATE, LARGEST_RATE = 1e-4, 1.0
FINDER_STEPS = 100
FALLBACK_RATE = 1e-3


@dataclass(frozen=True)
class Trained:
    """What training a network told.

    Parameters
    ----------
    losses
        ``train_loss`` and, where rows were held out, ``validation_loss``: one number per epoch, in
        the square of the targets' unit.
    best_epoch
        Number of the epoch whose weights were kept, from 0.
    learning_rate
        That it began with.
    """

    losses: Mapping[str, Sequence[float]]
    best_epoch: int
    learning_rate: float


def train(
    network: nn.Module,
    rows: Examples,
    held_out: Examples | None,
    options: TrainingOptions,
    *,
    seed: int,
    rate: float | None = None,
    noise: bool = True,
    checkpoints: Path | None = None,
    chunk: int = 4096,
) -> Trained:
    """Train `network` in place, and leave it with the weights of its best epoch.

    Parameters
    ----------
    rows
        To learn from.
    held_out
        To stop by; None stops by the training loss.
    seed
        Of order and dropout. On one thread of a CPU the same seed gives the same losses.
    rate
        Learning rate; None takes that of the options, or finds one.
    noise
        Dropout leaves out, and batch norm takes each batch's own statistics; else both do as they
        do in prediction.
    checkpoints
        A folder that a killed training goes on from, with the same losses; None keeps nothing.
    chunk
        Examples held out that are looked at together; it bounds memory.

    Raises
    ------
    ModelError
        If a loss is no number, or the folder holds a damaged checkpoint or another training's.
    """
    # Lightning leaves each module in the mode it is in.
    network.train(noise)
    fingerprint = _fingerprint(network, rows, held_out, options, seed, rate)
    progress = Progress(options, seed, fingerprint, checkpoints)
    with _quiet(), _own_random_state(seed), tempfile.TemporaryDirectory() as scratch:
        checkpoint = progress.resume()
        if not progress.finished:
            if checkpoint is None:
                chosen = options.learning_rate if rate is None else rate
                progress.learning_rate = chosen or _find_rate(network, rows, options, seed, scratch)
            module = _Module(network, options, progress)
            batches = Batches(rows, options.batch_size, seed, lambda: module.current_epoch)
            _trainer(scratch, options.max_epochs, progress).fit(
                module,
                batches,
                None if held_out is None else Chunks(held_out, chunk),
                ckpt_path=checkpoint,
                weights_only=True,
            )
    network.cpu().load_state_dict({k.removeprefix("network."): v for k, v in progress.best.items()})
    network.eval()
    losses = {name: values for name, values in progress.losses.items() if values}
    return Trained(losses, progress.best_epoch, progress.learning_rate)


class _Module(LightningModule):
    """A network, its loss, and the losses of the epoch so far."""

    def __init__(self, network: nn.Module, options: TrainingOptions, progress: Progress) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = progress.learning_rate
        self._options, self._progress = options, progress
        self._sums: dict[str, list[torch.Tensor]] = {}
        self._rows: dict[str, int] = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        decay = self._options.weight_decay
        # Fused is the quickest of torch's implementations on a CPU too.
        if decay:
            return torch.optim.AdamW(
                self.parameters(), lr=self.learning_rate, weight_decay=decay, fused=True
            )
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)

    def _loss(self, batch: Batch, name: str) -> torch.Tensor:
        inputs, targets = batch
        loss = nn.functional.mse_loss(self.network(inputs), targets)
        self._sums.setdefault(name, []).append(loss.detach() * len(targets))
        self._rows[name] = self._rows.get(name, 0) + len(targets)
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return self._loss(batch, "train_loss")

    def validation_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return self._loss(batch, "validation_loss")

    def on_train_epoch_end(self) -> None:
        # Lightning validates before it comes here, so the losses of both kinds are complete.
        losses = {
            name: float(torch.stack(sums).sum()) / self._rows[name]
            for name, sums in self._sums.items()
        }
        self._sums, self._rows = {}, {}
        self._progress.end_epoch(self.trainer, self, losses)


def _trainer(scratch: str, max_epochs: int, *callbacks: Progress) -> Trainer:
    return Trainer(
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        devices=1,
        # Under Slurm, Lightning would start as many processes as the job has tasks.
        plugins=[LightningEnvironment()],
        max_epochs=max_epochs,
        callbacks=list(callbacks),
        default_root_dir=scratch,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        deterministic="warn",
    )


def _find_rate(
    network: nn.Module, rows: Examples, options: TrainingOptions, seed: int, scratch: str
) -> float:
    """Return the rate at which the loss falls fastest when it is raised step by step.

    The range test of Smith, arXiv:1506.01186.
    """
    progress = Progress(options, seed, "", None)
    progress.learning_rate = SMALLEST_RATE
    module = _Module(network, options, progress)
    batches = Batches(rows, options.batch_size, seed, lambda: module.current_epoch)
    # It draws a bar whatever the trainer is told.
    with contextlib.redirect_stderr(io.StringIO()):
        found = Tuner(_trainer(scratch, -1)).lr_find(
            module,
            batches,
            min_lr=SMALLEST_RATE,
            max_lr=LARGEST_RATE,
            num_training=FINDER_STEPS,
            update_attr=False,
        )
    suggestion = None if found is None else found.suggestion()
    return FALLBACK_RATE if suggestion is None else float(suggestion)


def _fingerprint(
    network: nn.Module,
    rows: Examples,
    held_out: Examples | None,
    options: TrainingOptions,
    seed: int,
    rate: float | None,
) -> str:
    digest = hashlib.sha256(f"{options.model_dump_json()} {seed} {rate}".encode())
    tensors = [value for _, value in sorted(network.state_dict().items())]
    for examples in (rows, held_out):
        tensors += [] if examples is None else [*examples.tensors()]
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _own_random_state(seed: int) -> Iterator[None]:
    """Draw from `seed` on one thread, and give the caller's state of torch back."""
    threads = torch.get_num_threads()
    exact = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        # One thread: workers share the machine, and sums of several threads differ by chance.
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            # Lightning asks for exact algorithms and leaves it at that.
            torch.use_deterministic_algorithms(exact, warn_only=warns)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice about devices and loaders off the screen."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        logger.setLevel(level)
