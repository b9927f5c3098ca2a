"""Left-out predictions and the final model state their errors by the same rule."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from nearedge.models.heads import HeadPrediction, KernelHead, TrainingRows
from nearedge.models.heads.residual import ResidualHead, ResidualOptions
from nearedge.models.left_out import predict_left_out, state_alike
from nearedge.models.uncertainty.scaling import IntervalScale

Make = Callable[..., tuple[np.ndarray, np.ndarray, list[str]]]


def test_a_network_states_left_out_errors_as_it_will_state_those_to_come(
    make_synthetic: Make,
) -> None:
    rows = TrainingRows(*make_synthetic(60))
    options = ResidualOptions(width=8, depth=1, learning_rate=1e-2, max_epochs=4)
    left_out = predict_left_out(ResidualHead, rows, options, 3)
    trained = ResidualHead.fit(rows, options).head
    head, stated = state_alike(trained, rows, left_out)
    assert isinstance(head, ResidualHead)
    # What it says of a site at a distance is what is said of left-out rows at that distance.
    assert stated.std == pytest.approx(head.bars.std(stated.distance[:, None]))
    assert np.array_equal(stated.mean, left_out.mean)
    assert np.array_equal(head.predict(rows.features).mean, trained.predict(rows.features).mean)
    # They hold for the rows that they were fitted to, as the folds' own do not.
    factors = [
        IntervalScale.fit(rows.targets - left_out.mean, std, rows.groups).std_factor
        for std in (stated.std, left_out.std)
    ]
    assert np.abs(np.log(factors[0])).max() < 0.05
    assert np.abs(np.log(factors[1])).max() > 0.05


def test_a_kernel_needs_no_such_thing(make_synthetic: Make) -> None:
    rows = TrainingRows(*make_synthetic(10))
    head = KernelHead.fit(rows).head
    left_out = HeadPrediction(rows.targets, np.ones_like(rows.targets), np.ones(len(rows.targets)))
    assert state_alike(head, rows, left_out) == (head, left_out)


def test_who_leaves_out_materials_of_a_kernel_imports_no_network() -> None:
    code = "import sys, nearedge.models.left_out; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
