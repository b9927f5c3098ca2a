"""The recipes are whole, and ld1.x is told what they say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from nearedge.codes.xspectra.pseudo.recipes import (
    GENERATION,
    TEST,
    Recipe,
    ld1_inputs,
    load_recipes,
    read_configuration,
    recipe_of,
)
from nearedge.errors import InputRefused

PROMISED = ["B", "C", "N", "O", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu"]
TITANIUM = {
    "configuration": "1s2 2s2 2p6 3s2 3p6 3d2 4s0",
    "channels": {"3S": 1.1, "3P": 1.2, "3D": 1.6},
    "local": "p",
    "reconstruction": ["3S", "4S", "3P", "3D"],
    "unbound": {"4S": 1.5},
    "tests": [],
}


def test_every_promised_element_has_a_recipe():
    assert sorted(load_recipes().elements) == sorted(PROMISED)


@pytest.mark.parametrize("element", PROMISED)
def test_a_recipe_takes_semicore_states_and_two_waves_a_channel(element):
    recipe = recipe_of(element)
    for channel in {state.l for state in recipe.ordered_channels()}:
        waves = [s for s in recipe.states if s.label in recipe.reconstruction and s.l == channel]
        assert len(waves) == 2
    neutral = {"B": 3, "C": 4, "N": 5, "O": 6}.get(element)
    if neutral is None:  # a 3d metal as a 2+ ion, with 3s and 3p
        assert [state.label for state in recipe.core] == ["1S", "2S", "2P"]
    else:
        assert [state.label for state in recipe.core] == ["1S"]


def test_the_local_channel_is_listed_last_because_ld1_wants_it_so():
    recipe = Recipe.model_validate(TITANIUM)
    assert [state.label for state in recipe.ordered_channels()] == ["3S", "3D", "3P"]
    rows = ld1_inputs("Ti", recipe, "PBE", hole=False)[GENERATION].split("&test")[0].splitlines()
    assert rows[-4:] == [
        "3",
        "3S 1 0 2.00 0.00 1.1 1.1",
        "3D 3 2 2.00 0.00 1.6 1.6",
        "3P 2 1 6.00 0.00 1.2 1.2",
    ]


def test_the_core_hole_takes_one_electron_of_1s_and_nothing_else():
    recipe = Recipe.model_validate(TITANIUM)
    ground = ld1_inputs("Ti", recipe, "PBE", hole=False)
    hole = ld1_inputs("Ti", recipe, "PBE", hole=True)
    for name in (GENERATION, TEST):
        assert hole[name] == ground[name].replace("1s2 2s2", "1s1 2s2") != ground[name]


def test_states_of_the_potential_are_counted_from_the_lowest_valence_state():
    recipe = Recipe.model_validate(TITANIUM)
    numbers = {state.label: recipe.number(state) for state in recipe.valence}
    assert numbers == {"3S": 1, "3P": 2, "3D": 3, "4S": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"configuration": "1s2 2s2 nonsense"},
        {"channels": {"5S": 1.1}},
        {"local": "f"},
        {"reconstruction": ["3S", "5S"]},
        {"unbound": {"5S": 1.5}},
        {"tests": ["3s2, 3p6"]},
        {"radius": 1.2},
    ],
)
def test_a_recipe_that_does_not_fit_together_is_refused(change):
    with pytest.raises(ValidationError):
        Recipe.model_validate(TITANIUM | change)


def test_a_configuration_is_levels_with_their_electrons():
    assert [(s.n, s.l, s.electrons) for s in read_configuration("1s2 2p3.5")] == [
        (1, 0, 2.0),
        (2, 1, 3.5),
    ]


def test_an_element_without_recipe_is_refused_and_the_user_told_where_to_put_its_own():
    with pytest.raises(InputRefused, match=r"pseudo_path .*Zn\.UPF") as refused:
        recipe_of("Zn")
    assert refused.value.name == "unsupported_element"
