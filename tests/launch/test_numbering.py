"""Nobody is given a number twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad
from nearedge.settings import Settings

pytestmark = pytest.mark.integration


def test_two_workers_at_once_never_get_the_same_number(embedded_settings: Settings) -> None:
    pads = [launchpad(embedded_settings) for _ in range(2)]
    ensure_launchpad_indexes(pads[0])

    def take(pad: LaunchPad) -> tuple[list[int], list[int]]:
        launches = [pad.get_new_launch_id() for _ in range(60)]
        return launches, [pad.get_new_fw_id(3) for _ in range(60)]

    with ThreadPoolExecutor(2) as threads:
        (one, first), (other, second) = threads.map(take, pads)
    assert sorted(one + other) == list(range(1, 121))
    assert sorted(first + second) == list(range(1, 361, 3))


def test_numbers_begin_where_the_counter_stands(embedded_settings: Settings) -> None:
    pad = launchpad(embedded_settings)
    ensure_launchpad_indexes(pad)
    assert (pad.get_new_launch_id(), pad.get_new_launch_id()) == (1, 2)
    assert pad.get_new_fw_id(10) == 1
    assert pad.get_new_fw_id() == 11
