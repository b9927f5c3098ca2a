"""`demo`: the main job on real input, from nothing, with a report at the end."""

from __future__ import annotations


def demo() -> None:
    """Do the main job from nothing."""
