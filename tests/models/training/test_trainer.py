"""One training loop: the same seed gives the same losses, also after a kill; nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from nearedge.errors import ModelError
from nearedge.models.training import progress
from nearedge.models.training.data import Pairs, held_out_rows
from nearedge.models.training.options import TrainingOptions
from nearedge.models.training.progress import CHECKPOINT, Progress
from nearedge.models.training.trainer import LARGEST_RATE, SMALLEST_RATE, Trained, train

OPTIONS = TrainingOptions(max_epochs=8, learning_rate=1e-2, plateau=1, batch_size=16)


def pairs(rows: int, seed: int = 0) -> Pairs:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, 4, generator=generator)
    return Pairs(inputs, torch.tanh(inputs @ torch.ones(4, 3)))


def network() -> nn.Module:
    torch.manual_seed(3)
    hidden = (nn.Linear(4, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Dropout(0.3))
    return nn.Sequential(*hidden, nn.Linear(8, 3))


def trained(folder: Path | None = None, options: TrainingOptions = OPTIONS) -> Trained:
    return train(network(), pairs(49), pairs(12, 1), options, seed=1, checkpoints=folder)


class Interrupted(Exception):
    """The training was stopped from outside."""


def stop_after(monkeypatch: pytest.MonkeyPatch, epoch: int, *, before_saving: bool) -> None:
    """Break the training in its `epoch`, before or after a checkpoint is written."""
    name = "_save" if before_saving else "end_epoch"
    real = getattr(Progress, name)

    def breaking(self: Progress, trainer: object, *rest: object) -> None:
        last = len(self.losses["train_loss"]) == epoch + before_saving
        if before_saving and last:
            raise Interrupted
        real(self, trainer, *rest)
        if last:
            raise Interrupted

    monkeypatch.setattr(Progress, name, breaking)


@pytest.mark.parametrize("before_saving", [True, False])
def test_an_interrupted_training_goes_on_with_the_same_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before_saving: bool
) -> None:
    monkeypatch.setattr(progress, "SAVE_SECONDS", 0.0)
    whole = trained()
    for epoch in (2, 5):
        with monkeypatch.context() as patch:
            stop_after(patch, epoch, before_saving=before_saving)
            with pytest.raises(Interrupted):
                trained(tmp_path)
    assert trained(tmp_path) == whole
    assert len(whole.losses["train_loss"]) == OPTIONS.max_epochs


_KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_trainer
test_trainer.progress.SAVE_SECONDS = 0.0
test_trainer.trained(Path(sys.argv[2]), test_trainer.LONG)
"""
LONG = OPTIONS.model_copy(update={"max_epochs": 600, "patience": 600})


@pytest.mark.slow
def test_a_killed_training_goes_on_with_the_same_losses(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLED, str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / CHECKPOINT).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGKILL)
    checkpoint = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    reached = checkpoint["callbacks"]["Progress"]["losses"]["train_loss"]
    assert 0 < len(reached) < LONG.max_epochs
    assert trained(tmp_path, LONG) == trained(None, LONG)


def test_a_finished_training_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path)
    stop_after(monkeypatch, 0, before_saving=False)
    assert trained(tmp_path) == whole


def test_the_weights_are_those_of_the_best_epoch() -> None:
    best, held = network(), pairs(12, 1)
    result = train(best, pairs(49), held, OPTIONS, seed=1)
    with torch.no_grad():
        loss = float(nn.functional.mse_loss(best(held.inputs), held.targets))
    assert loss == pytest.approx(min(result.losses["validation_loss"]), rel=1e-6)
    assert result.losses["validation_loss"][result.best_epoch] == pytest.approx(loss, rel=1e-6)


def test_dropout_goes_on_or_not_as_asked_whatever_mode_the_network_was_left_in() -> None:
    losses = [
        train(each, pairs(49), pairs(12, 1), OPTIONS, seed=1, noise=noise).losses["train_loss"]
        for noise in (True, False)
        for each in (network(), network().eval())
    ]
    assert losses[0] == losses[1] != losses[2] == losses[3]


def test_training_stops_when_it_gets_no_better() -> None:
    options = OPTIONS.model_copy(update={"max_epochs": 200, "patience": 3, "learning_rate": 0.05})
    result = trained(options=options)
    assert len(result.losses["train_loss"]) == result.best_epoch + 4 < 200


def test_a_rate_is_found_where_none_is_given_and_is_the_same_again() -> None:
    options = OPTIONS.model_copy(update={"learning_rate": None, "max_epochs": 1})
    first, second = trained(options=options), trained(options=options)
    assert first == second
    assert SMALLEST_RATE <= first.learning_rate <= LARGEST_RATE


def test_nothing_is_printed_or_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = OPTIONS.model_copy(update={"learning_rate": None, "max_epochs": 2})
    fresh = network()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train(fresh, pairs(49), pairs(12, 1), options, seed=1)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(ModelError, match="another training"):
        trained(tmp_path, OPTIONS.model_copy(update={"weight_decay": 0.1}))


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    trained(tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match=CHECKPOINT):
        trained(tmp_path)


def test_slurm_with_several_tasks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_NAME", "worker")
    assert trained() == trained()


def test_materials_held_out_are_held_out_whole() -> None:
    groups = [f"mp-{n // 3}" for n in range(600)]
    held = held_out_rows(groups, 0.1, 0)
    inside = {groups[row] for row in held}
    assert 10 <= len(inside) <= 35
    assert len(held) == 3 * len(inside)
    assert len(held_out_rows(groups[:12], 0.1, 0)) == 0


def test_a_material_is_held_out_whatever_others_there_are() -> None:
    everything = [f"mp-{n}" for n in range(900)]
    some = everything[300:600]
    held = {everything[row] for row in held_out_rows(everything, 0.1, 3)}
    assert {some[row] for row in held_out_rows(some, 0.1, 3)} == held.intersection(some)
    assert {everything[row] for row in held_out_rows(everything, 0.1, 4)} != held
