"""What a convergence raises, and when it is content: one YAML file per code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from nearedge.codes.protocols import Setting, load_protocol, protocol_names
from nearedge.errors import InputRefused, SettingsError
from nearedge.schemas.convergence import RaisedParameter, Thresholds

FILE = "convergence.yaml"


class _Values(BaseModel):
    """One entry of `parameters`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    unit: str | None = None
    values: list[bool | int | float | str | list[float]] = Field(min_length=2)


class _File(BaseModel):
    """The file as it stands."""

    model_config = ConfigDict(extra="forbid")

    thresholds: dict[str, Thresholds]
    parameters: dict[str, _Values] = Field(min_length=1)

    @field_validator("thresholds")
    @classmethod
    def _not_empty(cls, thresholds: dict[str, Thresholds]) -> dict[str, Thresholds]:
        if not thresholds:
            raise ValueError("no protocol has thresholds")
        return thresholds


class Convergence(BaseModel):
    """What is raised, in order, and the thresholds of the protocol it is raised from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameters: list[RaisedParameter]
    thresholds: Thresholds

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [each.name for each in self.parameters]
        if len(set(names)) < len(names):
            raise ValueError("a parameter is raised twice")
        return self


def load_convergence(
    code: str,
    protocol: str,
    *,
    names: Sequence[str] | None = None,
    values: Mapping[str, Sequence[Setting]] | None = None,
) -> Convergence:
    """Return what a convergence of `code` raises from `protocol`.

    Parameters
    ----------
    code
        The code's name.
    protocol
        Name or label, changes included.
    names
        Parameters to raise, in this order; None takes all that the code lists.
    values
        Other values for some of them.

    Raises
    ------
    InputRefused
        ``no_convergence``, ``unknown_parameter`` or ``bad_setting``; see `load_protocol` too.
    SettingsError
        If the code's file is not as it must be.
    """
    base = load_protocol(code, protocol)
    found = _file(code)
    wanted = list(found.parameters) if names is None else list(names)
    others = values or {}
    for name in (*wanted, *others):
        if name not in found.parameters:
            known = ", ".join(found.parameters)
            raise InputRefused(
                "unknown_parameter",
                f"Code {code} has no parameter {name!r} to converge; it has {known}.",
            )
    if unused := set(others) - set(wanted):
        raise InputRefused(
            "unknown_parameter", f"Values are given for {', '.join(unused)}, which is not raised."
        )
    raised = []
    try:
        for name in wanted:
            listed = found.parameters[name]
            steps = others.get(name, listed.values)
            kind = [base.changed({name: value}).settings[name] for value in steps]
            _check_order(name, kind, listed.values)
            raised.append(RaisedParameter(name=name, unit=listed.unit, values=kind))
        return Convergence(parameters=raised, thresholds=found.thresholds[base.name])
    except ValidationError as error:
        raise InputRefused("bad_setting", f"Code {code}: {_first(error)}.") from None


def _check_order(name: str, values: Sequence[Setting], listed: Sequence[Setting]) -> None:
    """Refuse values that do not go, one by one, the way that the listed ones go.

    Raises
    ------
    InputRefused
        ``bad_setting``.
    """
    if len(values) < 2:
        raise InputRefused(
            "bad_setting", f"Two values of {name} at least are needed to compare them."
        )
    numbers = [each for each in values if isinstance(each, int | float)]
    first, last = listed[0], listed[-1]
    if len(numbers) < len(values) or not isinstance(first, int | float):
        return
    if isinstance(last, int | float):
        down = last < first
        if any(b >= a if down else b <= a for a, b in pairwise(numbers)):
            order = "falling" if down else "rising"
            raise InputRefused("bad_setting", f"The values of {name} have to be in {order} order.")


@cache
def _file(code: str) -> _File:
    place = files("nearedge.codes") / code / FILE
    if not place.is_file():
        raise InputRefused(
            "no_convergence", f"Code {code} lists nothing to converge: it has no {FILE}."
        )
    try:
        found = _File.model_validate(yaml.safe_load(place.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        reason = _first(error) if isinstance(error, ValidationError) else error
        raise SettingsError(f"{FILE} of code {code} is malformed: {reason}.") from None
    for name in protocol_names(code):
        if name not in found.thresholds:
            raise SettingsError(f"{FILE} of code {code} has no thresholds for protocol {name}.")
        for parameter, listed in found.parameters.items():
            for value in listed.values:
                load_protocol(code, name).changed({parameter: value})
    return found


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    reason = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {reason}" if where else reason
