"""Protocols: named and versioned parameter sets, one YAML file per code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from nearedge.errors import InputRefused, SettingsError

Setting = bool | int | float | str | list[float]


@dataclass(frozen=True)
class Protocol:
    """A named set of parameters for one code; a changed value needs a new version."""

    name: str
    version: int
    settings: dict[str, Setting]

    @property
    def label(self) -> str:
        """Name and version, as documents carry it: ``fast@1``."""
        return f"{self.name}@{self.version}"

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
    """Return a protocol by its name (``fast``) or its label (``fast@1``).

    Raises
    ------
    InputRefused
        If the code has no such protocol, or another version of it.
    """
    bare, _, version = name.partition("@")
    protocol = _protocols(code).get(bare)
    if protocol is None or (version and version != str(protocol.version)):
        known = ", ".join(each.label for each in _protocols(code).values())
        raise InputRefused(
            "unknown_protocol", f"Code {code} has no protocol {name!r}; choose one of {known}."
        )
    return protocol
