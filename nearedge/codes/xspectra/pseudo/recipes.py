"""The recipes of `recipes.yaml`, and what ld1.x reads for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from xraydb import atomic_number

from nearedge.errors import InputRefused

LETTERS = "spdf"
HOLE = "1s1"
"""What a core-hole potential has where the ground state has 1s2."""
GENERATION, TEST = "generation.in", "test.in"
POTENTIAL, SCREENED = "made.UPF", "screened.dat"
PREFIX = "test"
RADIUS = 2.5
"""Bohr; where logarithmic derivatives are taken: outside every matching radius and inside half of
the shortest metal-oxygen bond, as the usual practice is."""
LOWEST, HIGHEST, STEP = -3.0, 4.5, 0.05
"""Ry; the range of the logarithmic derivatives. Deeper levels are too narrow at `RADIUS` for the
step, and `check.levels` looks at them. On the scale of an ion's potential the Fermi level
of a solid lies at its highest occupied level, so this ends 60 eV or more above the edge."""
_STATE = re.compile(r"^(\d)([spdf])(-?[\d.]+)$")


@dataclass(frozen=True)
class State:
    """A level of the atom and its electrons: 3d2 is ``State(3, 2, 2.0)``."""

    n: int
    l: int  # noqa: E741
    electrons: float

    @property
    def label(self) -> str:
        """As ld1.x writes it: 3D."""
        return f"{self.n}{LETTERS[self.l].upper()}"


def read_configuration(text: str) -> list[State]:
    """Read ``1s2 2s2 2p3.5``.

    Raises
    ------
    ValueError
        If it is something else.
    """
    states = []
    for word in text.split():
        found = _STATE.match(word)
        if found is None:
            raise ValueError(f"{word!r} is no level with its electrons, such as 3d2")
        states.append(State(int(found[1]), LETTERS.index(found[2]), float(found[3])))
    return states


class Recipe(BaseModel):
    """How to make the potentials of one element; see `recipes.yaml` for the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    configuration: str
    channels: dict[str, float] = Field(min_length=1)
    local: str = Field(pattern="^[spdf]$")
    reconstruction: list[str]
    unbound: dict[str, float]
    tests: list[str]

    @field_validator("configuration", "tests")
    @classmethod
    def _readable(cls, value: str | list[str]) -> str | list[str]:
        for text in [value] if isinstance(value, str) else value:
            read_configuration(text)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        known = {state.label: state for state in read_configuration(self.configuration)}
        missing = {*self.channels, *self.reconstruction, *self.unbound} - set(known)
        if missing:
            raise ValueError(f"{min(missing)} is not in the configuration")
        if LETTERS.index(self.local) not in {known[name].l for name in self.channels}:
            raise ValueError(f"no channel has the local {self.local}")
        return self

    @property
    def states(self) -> list[State]:
        """The levels of the all-electron atom."""
        return read_configuration(self.configuration)

    @property
    def core(self) -> list[State]:
        """The levels below the valence."""
        lowest = {state.l: state.n for state in self._channel_states()}
        return [state for state in self.states if state.n < lowest.get(state.l, 99)]

    @property
    def valence(self) -> list[State]:
        """The levels that the potential has, empty ones included."""
        core = self.core
        return [state for state in self.states if state not in core]

    @property
    def valence_charge(self) -> float:
        """Charge that the valence and the potential's ground-state core leave to the nucleus."""
        return sum(s.electrons for s in self.valence)

    def radius(self, state: State) -> float:
        """Return the matching radius in bohr of the channel that `state` belongs to."""
        return next(self.channels[s.label] for s in self._channel_states() if s.l == state.l)

    def number(self, state: State) -> int:
        """Return the principal quantum number that `state` has in the potential."""
        return state.n - min(s.n for s in self._channel_states() if s.l == state.l) + state.l + 1

    def ordered_channels(self) -> list[State]:
        """Return the channels' reference states as ld1.x wants them: the local one last."""
        local = LETTERS.index(self.local)
        return sorted(self._channel_states(), key=lambda state: state.l == local)

    def _channel_states(self) -> list[State]:
        return [state for state in self.states if state.label in self.channels]


class Recipes(BaseModel):
    """All recipes, and the functional that they share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    functional: str
    elements: dict[str, Recipe]


@cache
def load_recipes() -> Recipes:
    """Return the recipes of `recipes.yaml`."""
    text = (files("nearedge.codes.xspectra.pseudo") / "recipes.yaml").read_text(encoding="utf-8")
    return Recipes.model_validate(yaml.safe_load(text))


def recipe_of(element: str) -> Recipe:
    """Return an element's recipe.

    Raises
    ------
    InputRefused
        ``unsupported_element``.
    """
    recipes = load_recipes().elements
    if element not in recipes:
        raise InputRefused(
            "unsupported_element",
            f"There is no recipe for a pseudopotential of {element}, only for "
            f"{', '.join(recipes)}: set pseudo_path (NEAREDGE_PSEUDO_PATH) to a folder with "
            f"{element}.UPF and those of the other elements.",
        )
    return recipes[element]


def ld1_inputs(element: str, recipe: Recipe, functional: str, *, hole: bool) -> dict[str, str]:
    """Return what ld1.x reads, by file name: to make the potential, and to test it.

    The test reads the file that was made, because ld1.x tests what it has just made in the
    semilocal form, in which ghost states cannot be (INPUT_LD1, ``pseudotype``).
    """
    atom = _atom(element, recipe, functional, hole=hole)
    channels = recipe.ordered_channels()
    generation = (
        f"&input\n{atom} iswitch=3,\n/\n"
        f"&inputp\n pseudotype=1, tm=.true., lloc={LETTERS.index(recipe.local)},"
        f" author='NearEdge', file_pseudopw='{POTENTIAL}', file_screen='{SCREENED}',"
        " lgipaw_reconstruction=.true.,\n/\n"
        f"{_rows(recipe, channels)}"
        f"&test\n/\n{_rows(recipe, _reconstruction(recipe), recipe.unbound)}"
    )
    test = (
        f"&input\n{atom} iswitch=2,\n nld=3, rlderiv={RADIUS}, eminld={LOWEST},"
        f" emaxld={HIGHEST}, deld={STEP},\n/\n"
        f"&test\n file_pseudo='{POTENTIAL}', nconf={len(recipe.tests) + 1},\n"
    )
    own = " ".join(f"{s.label.lower()}{s.electrons:g}" for s in recipe.valence)
    for index, configuration in enumerate([own, *recipe.tests], start=1):
        test += f" configts({index})='{configuration}',\n"
    return {GENERATION: generation, TEST: test + "/\n"}


def _atom(element: str, recipe: Recipe, functional: str, *, hole: bool) -> str:
    configuration = recipe.configuration
    if hole:
        configuration = re.sub(r"\b1s2\b", HOLE, configuration)
    return (
        f" title='{element}', prefix='{PREFIX}', zed={atomic_number(element)}, rel=1,"
        f" dft='{functional}',\n config='{configuration}',\n"
    )


def _reconstruction(recipe: Recipe) -> list[State]:
    known = {state.label: state for state in recipe.states}
    return [known[name] for name in recipe.reconstruction]


def _rows(recipe: Recipe, states: list[State], unbound: Mapping[str, float] | None = None) -> str:
    lines = [str(len(states))]
    for state in states:
        radius = recipe.radius(state)
        electrons, energy = state.electrons, 0.0
        if unbound is not None and state.label in unbound:
            # ld1.x takes a wave at a given energy where there are -1 electrons.
            electrons, energy = -1.0, unbound[state.label]
        lines.append(
            f"{state.label} {recipe.number(state)} {state.l} {electrons:.2f} {energy:.2f} "
            f"{radius} {radius}"
        )
    return "\n".join(lines) + "\n"
