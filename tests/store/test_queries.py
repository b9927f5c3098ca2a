"""What a user types is a value to look for, never an operator of the database."""

from __future__ import annotations

import re

import pytest

from nearedge.errors import DatabaseError
from nearedge.store.queries import CalculationQuery, SpectrumQuery


@pytest.mark.parametrize(
    "conditions",
    [
        {"absorber": {"$ne": "Ti"}},
        {"code": {"$where": "sleep(1000)"}},
        {"code": "$where"},
        {"project": "$expr"},
        {"project": ""},
        {"structure_id": ["a", "b"]},
        {"structure_key": "a\x00b"},
        {"spectrum_ids": [{"$gt": ""}]},
        {"elements": ["Ti", "$all"]},
        {"elements": ["Xx"]},
        {"chemsys": "Ti-.*"},
        {"absorber": "Titanium"},
        {"edge": "K.*"},
        {"formula": "not a formula"},
        {"formula": ""},
        {"formula": "$where"},
        {"kind": "everything"},
        {"$where": "true"},
        {"absorbr": "Ti"},
    ],
    ids=str,
)
def test_a_malformed_condition_is_refused_in_one_sentence(conditions: dict[str, object]) -> None:
    with pytest.raises(DatabaseError, match=re.escape(next(iter(conditions)))) as error:
        SpectrumQuery(**conditions)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("formula", ["TiO2", "O2Ti", "Ti4O8", "Ti2(O2)2"])
def test_a_formula_is_found_in_any_writing(formula: str) -> None:
    assert SpectrumQuery(formula=formula).filter() == {"formula": "TiO2"}


@pytest.mark.parametrize(
    ("elements", "chemsys", "found"),
    [
        (["O", "Ti"], "O-Ti", True),
        (["O", "Ti"], "Ba-O-Ti", True),
        (["O", "Ti"], "O-Sr-Ti", True),
        (["Ba", "Ti"], "Ba-O-Ti", True),
        (["O", "Ti"], "O-Tl", False),
        (["N", "Ti"], "Ni-Ti", False),
        (["N", "Ti"], "Mn-Ti", False),
        (["O", "Ti", "V"], "O-Ti", False),
    ],
)
def test_all_elements_must_be_contained(elements: list[str], chemsys: str, found: bool) -> None:
    condition = SpectrumQuery(elements=elements).filter()
    assert (set(condition["elements"]["$all"]) <= set(chemsys.split("-"))) is found


def test_calculations_are_found_by_their_failure() -> None:
    assert CalculationQuery(failed=True).filter() == {"state": {"$ne": "completed"}}
    assert CalculationQuery(failed=False).filter() == {"state": "completed"}
    assert CalculationQuery(state="scf_not_converged", failed=True).filter() == {
        "state": "scf_not_converged"
    }
    with pytest.raises(DatabaseError, match="contradicts state 'completed'"):
        CalculationQuery(state="completed", failed=True)
