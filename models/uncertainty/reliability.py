"""All that is known of a model's reliability, kept with its weights.

It is learned from training rows that were predicted with their material left out, so every kind of
head that can tell those gets it. In the file of weights its arrays have the prefixes ``interval_``,
``bound_`` and ``domain_``; a file without them is a model that knows none of it.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nearedge.errors import ModelError
from nearedge.models.heads.base import HeadPrediction
from nearedge.models.uncertainty.bound import ErrorBound
from nearedge.models.uncertainty.domain import Domain
from nearedge.models.uncertainty.scaling import IntervalScale
from nearedge.models.uncertainty.surroundings import Surroundings
from nearedge.spectra.spectrum import FloatArray

_PREFIXES = ("interval_", "bound_", "domain_")

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Intervals, bound and domain of a model; None is what it does not know.

    Parameters
    ----------
    intervals
        Makes 68 and 95 % intervals hold.
    bound
        States what the error of a spectrum stays below.
    domain
        Says which sites lie outside what was trained on.
    """

    intervals: IntervalScale | None = None
    bound: ErrorBound | None = None
    domain: Domain | None = None

    @classmethod
    def fit(
        cls,
        targets: FloatArray,
        left_out: HeadPrediction | None,
        groups: Sequence[Hashable],
        seen: Sequence[Surroundings] | None = None,
    ) -> Self:
        """Learn it from a head's training rows.

        Parameters
        ----------
        targets
            Their spectra, shape ``(n, points)``.
        left_out
            What the head predicts for them with their material left out; None where the kind of
            head cannot tell, and then intervals and bound are not known.
        groups
            The material of each row.
        seen
            The surroundings of each training site; None where only features are known.
        """
        if left_out is None:
            return cls(domain=None if seen is None else Domain.fit(None, groups, seen))
        return cls(
            intervals=IntervalScale.fit(targets - left_out.mean, left_out.std, groups),
            bound=ErrorBound.fit(targets, left_out, groups),
            domain=Domain.fit(left_out.distance, groups, seen),
        )

    def to_arrays(self) -> Arrays:
        """Return what is stored."""
        parts = (self.intervals, self.bound, self.domain)
        return {
            f"{prefix}{name}": np.ascontiguousarray(array)
            for prefix, part in zip(_PREFIXES, parts, strict=True)
            if part is not None
            for name, array in part.to_arrays().items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read what `to_arrays` returned."""
        intervals, bound, domain = (
            {name.removeprefix(p): array for name, array in arrays.items() if name.startswith(p)}
            for p in _PREFIXES
        )
        return cls(
            IntervalScale.from_arrays(intervals) if intervals else None,
            ErrorBound.from_arrays(bound) if bound else None,
            Domain.from_arrays(domain) if domain else None,
        )


def join(weights: bytes, known: Mapping[str, Reliability]) -> bytes:
    """Return a head's weights with what is known of its reliability added.

    Parameters
    ----------
    weights
        What ``head.to_bytes()`` returned.
    known
        By what is predicted: a model of several elements is not equally sure of all.
    """
    added = {
        f"{name}:{label}": array
        for label, each in known.items()
        for name, array in each.to_arrays().items()
    }
    return _saved({**load(weights), **added}, weights) if added else weights


def separate(weights: bytes) -> tuple[bytes, dict[str, Reliability]]:
    """Take `join` apart again: the head's weights, and what is known of its reliability.

    Raises
    ------
    ModelError
        If the file cannot be read.
    """
    own: Arrays = {}
    added: dict[str, Arrays] = {}
    try:
        for name, array in load(weights).items():
            if name.startswith(_PREFIXES) and ":" in name:
                short, label = name.split(":", 1)
                added.setdefault(label, {})[short] = array
            else:
                own[name] = array
        known = {label: Reliability.from_arrays(arrays) for label, arrays in sorted(added.items())}
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"The model's weights cannot be read ({error}): the file is cut short or damaged."
        ) from None
    return (_saved(own, weights) if added else weights), known


def _saved(arrays: Mapping[str, NDArray[Any]], like: bytes) -> bytes:
    """Return arrays as a safetensors file with the metadata of another."""
    length = int.from_bytes(like[:8], "little")
    metadata = json.loads(like[8 : 8 + length]).get("__metadata__")
    return bytes(save(dict(arrays), metadata))
