"""Protocols: named and versioned parameter sets, one YAML file per code."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from math import isfinite

import yaml

from nearedge.errors import InputRefused, SettingsError
from nearedge.schemas.calculation import Parameter

Setting = bool | int | float | str | list[float]
_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    list: "a list of numbers",
}


@dataclass(frozen=True)
class Protocol:
    """A named set of parameters for one code; a changed value needs a new version.

    `changes` are settings that the user wants otherwise; `settings` has them already.
    """

    name: str
    version: int
    settings: dict[str, Setting]
    changes: dict[str, Setting] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name, version and changes, as documents carry them: ``fast@1+fms_radius=5.0``."""
        changes = (f"+{name}={_written(self.changes[name])}" for name in sorted(self.changes))
        return f"{self.name}@{self.version}" + "".join(changes)

    def changed(self, changes: Mapping[str, Setting]) -> Protocol:
        """Return this protocol with other values for some settings.

        Raises
        ------
        InputRefused
            ``unknown_setting`` or ``bad_setting``: a name that the protocol does not have, or a
            value of another kind.
        """
        kept = dict(self.changes)
        settings = dict(self.settings)
        for name, wanted in changes.items():
            if name not in settings:
                raise InputRefused(
                    "unknown_setting",
                    f"Protocol {self.name}@{self.version} has no setting {name!r}; it has "
                    f"{', '.join(sorted(settings))}.",
                )
            value = _of_the_kind(name, wanted, settings[name])
            if value == settings[name] and name not in kept:
                continue
            settings[name] = kept[name] = value
        return replace(self, settings=settings, changes=kept)

    def number(self, setting: str) -> float:
        """Return a numeric setting.

        Raises
        ------
        SettingsError
            If it is missing or not a number.
        """
        value = self.settings.get(setting)
        if isinstance(value, bool | str | list | None):
            raise SettingsError(
                f"Protocol {self.label}: {setting} must be a number, not {value!r}."
            )
        return float(value)

    def parameters(
        self, units: Mapping[str, str], without: Collection[str] = ()
    ) -> dict[str, Parameter]:
        """Return the physical parameters that this protocol stands for.

        Parameters
        ----------
        units
            Of the settings that have one.
        without
            Settings that steer convergence and do not move a converged result.
        """
        return {
            name: Parameter(
                value=list(value) if isinstance(value, list) else value, unit=units.get(name)
            )
            for name, value in self.settings.items()
            if name not in without
        }


@cache
def _protocols(code: str) -> dict[str, Protocol]:
    text = (files("nearedge.codes") / code / "protocols.yaml").read_text(encoding="utf-8")
    loaded = yaml.safe_load(text)
    return {
        name: Protocol(name=name, version=entry["version"], settings=entry["settings"])
        for name, entry in loaded.items()
    }


def protocol_names(code: str) -> tuple[str, ...]:
    """Return the names of the protocols that `code` has, cheapest first."""
    return tuple(_protocols(code))


def load_protocol(code: str, name: str) -> Protocol:
    """Return a protocol by its name (``fast``), label (``fast@1``), or with changed settings.

    Parameters
    ----------
    code
        The code's name.
    name
        Such as ``fast@1+fms_radius=5+core_hole=FSR``; values are read as YAML.

    Raises
    ------
    InputRefused
        If the code has no such protocol, another version of it, or no such setting.
    """
    base, *changes = re.split(r"\+(?=[A-Za-z_]\w*=)", name)
    bare, _, version = base.partition("@")
    protocol = _protocols(code).get(bare)
    if protocol is None or (version and version != str(protocol.version)):
        known = ", ".join(each.label for each in _protocols(code).values())
        raise InputRefused(
            "unknown_protocol", f"Code {code} has no protocol {base!r}; choose one of {known}."
        )
    return protocol.changed(dict(_change(each) for each in changes)) if changes else protocol


def _change(text: str) -> tuple[str, Setting]:
    name, _, value = text.partition("=")
    try:
        read: Setting = yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputRefused("bad_setting", f"{text!r} is not NAME=VALUE.") from None
    return name, read


def _of_the_kind(name: str, value: Setting, default: Setting) -> Setting:
    """Return `value` as the kind of `default`, so that 5 and 5.0 are one setting."""
    if isinstance(default, float | int) and not isinstance(default, bool):
        value = _number(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(default, int) and isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not type(default) or (isinstance(value, float) and not isfinite(value)):
        raise InputRefused(
            "bad_setting",
            f"Setting {name} takes {_KINDS[type(default)]}, such as {_written(default)}; "
            f"{_written(value)} is none.",
        )
    return value


def _number(value: Setting) -> Setting:
    """Return a number that YAML takes for text, such as 1e-9 (it wants 1.0e-9)."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _written(value: Setting) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).partition("\n")[0]
