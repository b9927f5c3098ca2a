"""Which step comes next: in order, never twice, to an end, with what was chosen kept."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from nearedge.makers.ladder import Change, Outcome, Rung, Taken, next_rung, outcome
from nearedge.schemas.convergence import RaisedParameter

FMS = RaisedParameter(name="fms", values=[4.0, 5.0, 6.0, 7.0])
SCF = RaisedParameter(name="scf", values=[3.0, 4.0, 5.0])

_CODES = {
    "1": Change.FIRST,
    "=": Change.NONE,
    "s": Change.SMALL,
    "L": Change.LARGE,
    "x": Change.FAILED,
}


def steps(codes: str, parameter: RaisedParameter = FMS) -> list[Taken]:
    return [
        Taken(parameter.name, value, _CODES[code])
        for value, code in zip(parameter.values, codes, strict=False)
    ]


def test_two_successive_steps_that_agree_end_it_at_the_lower_one() -> None:
    assert outcome(FMS, steps("1L")) == Outcome("open")
    assert outcome(FMS, steps("1Ls")) == Outcome("converged", 5.0)
    assert outcome(FMS, steps("1s")) == Outcome("converged", 4.0)


def test_a_step_without_any_effect_proves_nothing() -> None:
    assert outcome(FMS, steps("1=")) == Outcome("open")
    assert outcome(FMS, steps("1=L")) == Outcome("open")
    assert outcome(FMS, steps("1=s")) == Outcome("converged", 4.0)
    assert outcome(FMS, steps("1==L")) == Outcome("not_converged", 7.0)


def test_a_list_that_ends_without_any_effect_is_converged() -> None:
    assert outcome(FMS, steps("1===")) == Outcome("converged", 4.0)
    assert outcome(FMS, steps("1L==")) == Outcome("converged", 5.0)


def test_a_failed_step_is_passed_by() -> None:
    assert outcome(FMS, steps("x1")) == Outcome("open")
    assert outcome(FMS, steps("x1s")) == Outcome("converged", 5.0)
    assert outcome(FMS, steps("1xs")) == Outcome("converged", 4.0)
    assert outcome(FMS, steps("1LLx")) == Outcome("not_converged", 6.0)
    assert outcome(FMS, steps("xxxx")) == Outcome("failed")
    assert outcome(FMS, steps("xxx1")) == Outcome("not_converged", 7.0), "one spectrum alone"


def test_a_chosen_value_is_kept_and_a_failed_parameter_left_to_the_protocol() -> None:
    assert next_rung([FMS, SCF], []) == Rung("fms", 4.0, {"fms": 4.0})
    assert next_rung([FMS, SCF], steps("1Ls")) == Rung("scf", 3.0, {"fms": 5.0, "scf": 3.0})
    assert next_rung([FMS, SCF], steps("xxxx")) == Rung("scf", 3.0, {"scf": 3.0})
    ended = [*steps("1Ls"), *steps("1s", SCF)]
    assert next_rung([FMS, SCF], ended) is None


@st.composite
def plans(draw: st.DrawFn) -> list[RaisedParameter]:
    lengths = draw(st.lists(st.integers(2, 5), min_size=1, max_size=4))
    return [
        RaisedParameter(name=f"p{n}", values=[float(v) for v in range(length)])
        for n, length in enumerate(lengths)
    ]


def climb(plan: list[RaisedParameter], answer: Callable[[Rung], Change]) -> list[Rung]:
    """Take every step that is asked for, as the jobs do, to the end."""
    asked: list[Rung] = []
    taken: list[Taken] = []
    while (rung := next_rung(plan, taken)) is not None:
        asked.append(rung)
        assert len(asked) <= sum(len(each.values) for each in plan), "it terminates"
        taken.append(Taken(rung.parameter, rung.value, answer(rung)))
    return asked


@given(plans(), st.data())
def test_it_ends_in_order_and_never_asks_for_a_step_twice(
    plan: list[RaisedParameter], data: st.DataObject
) -> None:
    seen: set[str] = set()

    def answer(rung: Rung) -> Change:
        first = rung.parameter not in seen
        choices = [Change.FIRST if first else Change.LARGE, Change.FAILED]
        if not first:
            choices += [Change.SMALL, Change.NONE]
        change = data.draw(st.sampled_from(choices))
        if change is not Change.FAILED:
            seen.add(rung.parameter)
        return change

    asked = climb(plan, answer)
    names = [rung.parameter for rung in asked]
    assert names == sorted(names), "one parameter after the other"
    for each in plan:
        values = [rung.value for rung in asked if rung.parameter == each.name]
        assert values, "every parameter is raised"
        assert values == each.values[: len(values)], "from the lowest upwards, none left out"


@given(plans(), st.data())
def test_values_that_were_chosen_stay_chosen(
    plan: list[RaisedParameter], data: st.DataObject
) -> None:
    taken: list[Taken] = []
    while (rung := next_rung(plan, taken)) is not None:
        place = [each.name for each in plan].index(rung.parameter)
        for earlier in plan[:place]:
            chosen = outcome(earlier, taken).chosen
            assert rung.changes.get(earlier.name) == chosen
        assert set(rung.changes) <= {each.name for each in plan[: place + 1]}
        fresh = not any(
            t.parameter == rung.parameter and t.change is not Change.FAILED for t in taken
        )
        choices = [Change.FAILED, Change.FIRST] if fresh else [*Change][1:]
        taken.append(Taken(rung.parameter, rung.value, data.draw(st.sampled_from(choices))))
    assert all(outcome(each, taken).verdict != "open" for each in plan)
