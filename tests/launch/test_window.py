"""A batch job's time: what is begun, and what a run that was cut short needs."""

from __future__ import annotations

import time

import pytest

from nearedge.launch.window import Window


def window(seconds: float, expected: float = 10.0) -> Window:
    now = time.monotonic()
    return Window(now, now + seconds, expected)


def test_nothing_is_begun_that_is_not_expected_to_end_in_time() -> None:
    assert window(20).takes_more
    assert not window(5).takes_more


def test_a_longer_run_than_expected_is_learned_from() -> None:
    learned = window(100)
    learned.took(150)
    learned.took(20)
    assert not learned.takes_more


@pytest.mark.parametrize(("seconds", "longer"), [(10.0, False), (79.0, False), (81.0, True)])
def test_a_run_that_had_nearly_all_the_time_needs_a_longer_window(
    seconds: float, longer: bool
) -> None:
    assert window(100).too_short_for(seconds) is longer


def test_another_process_reads_the_same_window() -> None:
    one = window(50)
    assert Window.parse(one.text) == one


def test_a_window_counts_from_the_start_of_the_process() -> None:
    mine = Window.of_this_process(3600, 120, 60)
    assert mine.closes - mine.opened == pytest.approx(3480)
    assert mine.opened < time.monotonic()
