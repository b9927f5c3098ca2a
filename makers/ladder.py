"""Which step of a convergence comes next, decided from those that were taken; nothing else.

One parameter is raised at a time, in order. Its spectra are compared one after the other; where two
successive ones agree, the lower value is chosen, and kept while the next parameter is raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from nearedge.schemas.convergence import RaisedParameter, SettingValue, Verdict


class Change(StrEnum):
    """What a step did to the spectrum, against the step before that completed."""

    FIRST = "first"
    """Nothing completed before it."""
    NONE = "none"
    """No effect at all: no new shell of atoms, the same k-mesh. It says nothing of convergence."""
    SMALL = "small"
    """Within the thresholds."""
    LARGE = "large"
    FAILED = "failed"
    """It gave no spectrum."""


@dataclass(frozen=True)
class Rung:
    """A value of a parameter, and all settings that differ from the protocol's then."""

    parameter: str
    value: SettingValue
    changes: Mapping[str, SettingValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """A step that was taken."""

    parameter: str
    value: SettingValue
    change: Change


@dataclass(frozen=True)
class Outcome:
    """What is known of a parameter; `chosen` is None where the protocol's own value is kept."""

    verdict: Verdict
    chosen: SettingValue | None = None


def outcome(parameter: RaisedParameter, taken: Sequence[Taken]) -> Outcome:
    """Return what the steps of one parameter say, in the order in which they were taken.

    - *converged* at the lower of two successive values whose spectra agree but are not the same;
      of several lower values with the same spectrum, at the lowest. Also where the last values of
      the list have all the same spectrum: there is nothing left that could change it.
    - *not converged* where the list ends before; the highest value that gave a spectrum is chosen.
    - *failed* where no value gave a spectrum.
    """
    steps = [step for step in taken if step.parameter == parameter.name]
    lowest: SettingValue | None = None  # of those with the spectrum of the last one
    last = Change.FAILED
    reached: SettingValue | None = None
    for step in steps:
        if step.change is Change.FAILED:
            continue
        if step.change is Change.SMALL:
            return Outcome("converged", lowest)
        if step.change is not Change.NONE:
            lowest = step.value
        last, reached = step.change, step.value
    if len(steps) < len(parameter.values):
        return Outcome("open")
    if reached is None:
        return Outcome("failed")
    if last is Change.NONE:
        return Outcome("converged", lowest)
    return Outcome("not_converged", reached)


def next_rung(parameters: Sequence[RaisedParameter], taken: Sequence[Taken]) -> Rung | None:
    """Return the step to take next, or None when all is said.

    Parameters
    ----------
    parameters
        What is raised, in order.
    taken
        All steps so far, in the order in which this function asked for them.
    """
    kept: dict[str, SettingValue] = {}
    for parameter in parameters:
        found = outcome(parameter, taken)
        if found.verdict == "open":
            number = sum(step.parameter == parameter.name for step in taken)
            value = parameter.values[number]
            return Rung(parameter.name, value, {**kept, parameter.name: value})
        if found.chosen is not None:
            kept[parameter.name] = found.chosen
    return None
