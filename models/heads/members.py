"""Heads inside a head: their options, and their weights in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ValidationError
from safetensors.numpy import load, save

from nearedge.errors import ModelError
from nearedge.models.heads import Head, head_from_bytes, head_kind

_DESCRIPTION = "description"


def member_options(kind: str, settings: Mapping[str, Any]) -> BaseModel:
    """Return the options of a kind of head.

    Raises
    ------
    ModelError
        If there is no such kind, or it has no such option.
    """
    try:
        return head_kind(kind).options.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"The head {kind} has no such option ({where}: {first['msg']}).") from None


def read_settings(text: str) -> dict[str, Any]:
    """Return options written as a JSON object.

    Raises
    ------
    ValueError
        If it is none.
    """
    settings = json.loads(text)
    if not isinstance(settings, dict):
        raise ValueError('settings are a JSON object, such as {"width": 128}')
    return settings


def _readable(text: str) -> str:
    read_settings(text)
    return text


Settings = Annotated[str, AfterValidator(_readable)]
"""A field of options that holds those of heads inside, as a JSON object."""


def pack(
    members: Mapping[str, Head], described: Mapping[str, Any], own: Mapping[str, NDArray[Any]]
) -> bytes:
    """Return a safetensors file of heads, each under the prefix that is its name here.

    Parameters
    ----------
    members
        By names without a dot.
    described
        What JSON can hold.
    own
        Other arrays, by names without a dot.
    """
    kinds = {name: head.name for name, head in members.items()}
    text = json.dumps({"kinds": kinds, **described})
    arrays = {_DESCRIPTION: np.frombuffer(text.encode(), dtype=np.uint8), **own}
    for name, head in members.items():
        arrays |= {f"{name}.{key}": array for key, array in load(head.to_bytes()).items()}
    return bytes(save({key: np.ascontiguousarray(array) for key, array in arrays.items()}))


def unpack(weights: bytes) -> tuple[dict[str, Head], dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `pack` wrote: the heads, what was described, and the other arrays.

    Raises
    ------
    SafetensorError, KeyError, ValueError, TypeError
        If it is cut short or lacks something.
    ModelError
        If a head is damaged.
    """
    arrays = load(weights)
    described = json.loads(arrays.pop(_DESCRIPTION).tobytes())
    members = {}
    for name, kind in described.pop("kinds").items():
        start = f"{name}."
        part = {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
        members[name] = head_from_bytes(kind, bytes(save(part)))
    shapes = {(head.size, head.points) for head in members.values()}
    if len(shapes) != 1:
        raise ValueError("the members differ in shape")
    own = {key: array for key, array in arrays.items() if "." not in key}
    return members, described, own
