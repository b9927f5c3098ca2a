"""Recorded FEFF runs: decks, outputs and logs of our own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes.base import InputSet

RECORDED = Path(__file__).parents[2] / "recorded" / "feff"


@dataclass(frozen=True)
class Recording:
    folder: Path

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    @property
    def deck(self) -> str:
        return self.text("feff.inp")

    @property
    def outcome(self) -> dict[str, str]:
        loaded: dict[str, str] = json.loads(self.text("outcome.json"))
        return loaded

    def inputs(self, deck: str | None = None) -> InputSet:
        text = self.deck if deck is None else deck
        return InputSet("feff", "test", "custom", {"feff.inp": text}, {})


@pytest.fixture
def recorded():
    return lambda case: Recording(RECORDED / case)


@pytest.fixture
def anatase() -> Structure:
    # The same as tests/recorded/feff/record.py makes its deck from.
    return Structure.from_spacegroup(
        "I4_1/amd", Lattice.tetragonal(3.7842, 9.5146), ["Ti", "O"], [[0, 0, 0], [0, 0, 0.2081]]
    )
