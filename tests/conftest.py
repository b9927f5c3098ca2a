"""What every test may ask for: the reference data beside the checkout, or a reason to skip."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


def skip_or_fail(reason: str) -> None:
    """Skip the test, or fail it where NEAREDGE_REQUIRE_ALL says that nothing may be missing."""
    if os.environ.get("NEAREDGE_REQUIRE_ALL") == "1":
        pytest.fail(f"NEAREDGE_REQUIRE_ALL=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def need() -> Callable[[object, str], None]:
    """Return a check that goes on where something is at hand, and else skips or fails."""

    def check(at_hand: object, otherwise: str) -> None:
        if not at_hand:
            skip_or_fail(otherwise)

    return check


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Return the path of a file of reference data, which is not the project's own."""

    def find(relative: str) -> Path:
        path = CHECKOUT.parent / "shared" / relative
        if not path.exists():
            skip_or_fail(
                f"reference data {relative} is not in the folder `shared` beside the checkout"
            )
        return path

    return find
