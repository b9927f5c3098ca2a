"""What is stated of errors holds, survives in the weights, and old weights have none of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nearedge.errors import ModelError
from nearedge.models.heads import HeadPrediction, KernelHead, TrainingRows
from nearedge.models.uncertainty.bound import ErrorBound
from nearedge.models.uncertainty.reliability import Reliability, join, separate
from nearedge.spectra.spectrum import FloatArray

POINTS = 20


def world(materials: int, seed: int) -> tuple[FloatArray, HeadPrediction, list[int]]:
    """Errors that grow with the square root of what is stated, and with the height of spectra."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(materials), generator.integers(1, 4, size=materials))
    stated = np.exp(generator.normal(size=len(groups)))
    height = np.exp(0.5 * generator.normal(size=len(groups)))
    mean = height[:, None] * (1.2 + np.sin(np.arange(POINTS)))
    luck = np.exp(0.4 * generator.normal(size=materials))[groups]
    error = (
        generator.normal(size=(len(groups), POINTS)) * (np.sqrt(stated) * height * luck)[:, None]
    )
    prediction = HeadPrediction(mean, np.repeat(stated[:, None], POINTS, axis=1), 0.0 * stated)
    return mean + error, prediction, groups.tolist()


def rms(values: FloatArray) -> FloatArray:
    found: FloatArray = np.sqrt(np.mean(values**2, axis=1))
    return found


@pytest.mark.parametrize("materials", [10, 60, 400])
def test_the_error_is_within_its_bound_as_often_as_promised(materials: int) -> None:
    shares = []
    for seed in range(6):
        bound = ErrorBound.fit(*world(materials, seed))
        targets, prediction, _ = world(400, 100 + seed)
        shares.append(np.mean(rms(targets - prediction.mean) <= bound.bound(prediction)))
    assert 0.93 <= np.mean(shares) <= (0.97 if materials == 400 else 1.0)


def test_the_bound_learns_what_the_stated_deviation_does_not_say() -> None:
    bound = ErrorBound.fit(*world(400, 0))
    assert bound.weights[0] == pytest.approx(0.5, abs=0.08)  # errors grow with its square root
    assert bound.weights[2] + bound.weights[3] == pytest.approx(1.0, abs=0.15)
    targets, prediction, _ = world(400, 1)
    logs = np.log(rms(targets - prediction.mean)), np.log(bound.expected(prediction))
    assert np.corrcoef(*logs)[0, 1] > 0.85
    assert np.mean(logs[0] - logs[1]) == pytest.approx(0.0, abs=0.1)


def test_with_two_rows_the_bound_trusts_what_is_stated() -> None:
    bound = ErrorBound.fit(*world(2, 3))
    assert bound.weights == pytest.approx([1, 0, 0, 0], abs=0.5)
    assert np.isfinite(bound.margin)


def test_weights_carry_everything_and_the_head_gets_its_own_back(
    make_synthetic: Callable[..., tuple[FloatArray, FloatArray, list[str]]],
) -> None:
    features, targets, groups = make_synthetic(30)
    fitted = KernelHead.fit(TrainingRows(features, targets, groups))
    weights = fitted.head.to_bytes()
    known = {
        label: Reliability.fit(targets, fitted.left_out, groups) for label in ("Cu feff", "Co feff")
    }
    joined = join(weights, known)
    own, again = separate(joined)
    assert own == weights
    assert list(again) == ["Co feff", "Cu feff"]
    first, second = known["Cu feff"], again["Cu feff"]
    assert second.intervals is not None
    assert second.domain is not None
    assert first.bound is not None
    assert second.bound is not None
    found = fitted.head.predict(features[:3])
    np.testing.assert_array_equal(second.bound.bound(found), first.bound.bound(found))
    assert join(weights, known) == joined


def test_weights_of_older_models_are_passed_on_untouched(weights: bytes) -> None:
    own, known = separate(weights)
    assert own is weights
    assert known == {}
    with pytest.raises(ModelError, match="cut short or damaged"):
        separate(weights[:100])


def test_a_head_that_cannot_tell_states_no_bound() -> None:
    known = Reliability.fit(np.zeros((3, 4)), None, ["a", "b", "c"])
    assert (known.intervals, known.bound, known.domain) == (None, None, None)
    assert known.to_arrays() == {}
