"""Where a model's training ends: what a prediction is told that lies beyond.

A site is *outside* if its structure holds an element that no training structure held, if its first
shell holds an element or a number of atoms that no training site's did, if it is farther from the
training set than nearly all materials that were left out in turn, or if its structure type was not
among the training structures and it is farther than most sites of known types. A new type near to
sites of others is told apart from that, as *unfamiliar*: errors are no larger there.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element

from nearedge.models.uncertainty.conformal import (
    IntArray,
    conformal_quantile,
    rows_of_groups,
)
from nearedge.models.uncertainty.surroundings import Surroundings
from nearedge.spectra.spectrum import FloatArray

TYPICAL = 0.99
"""Share of left-out materials that are within the distance called typical."""
OF_KNOWN_TYPE = 0.75
"""Share of left-out materials, of types that others share, that are within the distance beyond
which a new type counts. On copper, errors of types held out that are nearer are no larger than
those of known types; docs/uncertainty.md has what other shares give."""


@dataclass(frozen=True)
class Verdict:
    """Reasons why a site is not like those that a model was trained on, as sentences.

    Parameters
    ----------
    outside
        Why errors may be larger than stated; empty for a site like the training sites.
    unfamiliar
        What is new although the training sites are near, so that errors are not larger.
    """

    outside: list[str]
    unfamiliar: list[str]


@dataclass(frozen=True, eq=False)
class Domain:
    """What a model was trained on.

    Parameters
    ----------
    distance
        Typical distance to the nearest training site; infinite where it is not known.
    surroundings
        Of the training sites, each kind once; None where only their features were known.
    type_distance
        A site of a new structure type that is farther than this is outside; infinite where it is
        not known.
    """

    distance: float
    surroundings: SeenSurroundings | None = None
    type_distance: float = np.inf

    @classmethod
    def fit(
        cls,
        distances: FloatArray | None,
        groups: Sequence[Hashable],
        seen: Sequence[Surroundings] | None,
    ) -> Self:
        """Take in what a model was trained on.

        Parameters
        ----------
        distances
            Of each training row to the nearest row of another material, shape ``(n,)``.
        groups
            The material of each row.
        seen
            The surroundings of each training site.
        """
        limit = type_limit = np.inf
        if distances is not None:
            limit = _limit(distances, groups, TYPICAL)
        if distances is not None and seen is not None:
            shared = _of_shared_type(groups, seen)
            type_limit = _limit(distances[shared], [groups[row] for row in shared], OF_KNOWN_TYPE)
        return cls(limit, None if seen is None else SeenSurroundings.of(seen), type_limit)

    def judge(self, site: Surroundings | None, distance: float) -> Verdict:
        """Say whether a site lies outside.

        Parameters
        ----------
        site
            None where only its features are known.
        distance
            To the nearest training site, as the head states it.
        """
        outside, unfamiliar = [], []
        if site is not None and self.surroundings is not None:
            outside = self.surroundings.never_seen(site)
            unfamiliar = self.surroundings.new_type(site)
        if unfamiliar and distance > self.type_distance:
            outside += [
                f"{reason}, and it is {distance:.2g} from the nearest training site: "
                f"{OF_KNOWN_TYPE:.0%} of materials of known types are within "
                f"{self.type_distance:.2g}"
                for reason in unfamiliar
            ]
            unfamiliar = []
        if distance > self.distance:
            outside.append(
                f"it is {distance:.2g} from the nearest training site, and {TYPICAL:.0%} of "
                f"materials left out in turn are within {self.distance:.2g}"
            )
        return Verdict(outside, unfamiliar)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is stored."""
        limits = np.array([self.distance, self.type_distance])
        arrays: dict[str, NDArray[Any]] = {"distance": limits}
        return arrays | (self.surroundings.to_arrays() if self.surroundings else {})

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read what `to_arrays` returned; older releases knew no limit for new types."""
        seen = SeenSurroundings.from_arrays(arrays) if "types" in arrays else None
        distance, type_distance = (*arrays["distance"].tolist(), np.inf)[:2]
        return cls(float(distance), seen, float(type_distance))


def _limit(distances: FloatArray, groups: Sequence[Hashable], share: float) -> float:
    """Return the distance that a share of materials is within; infinite where they are too few."""
    if not len(distances):
        return np.inf
    return float(conformal_quantile(distances[:, None], rows_of_groups(groups), share)[0])


def _of_shared_type(groups: Sequence[Hashable], seen: Sequence[Surroundings]) -> IntArray:
    """Return the rows whose structure type is that of another material's row too."""
    materials: dict[str, set[Hashable]] = {}
    for group, site in zip(groups, seen, strict=True):
        materials.setdefault(site.structure_type, set()).add(group)
    shared = [row for row, site in enumerate(seen) if len(materials[site.structure_type]) > 1]
    return np.array(shared, dtype=np.intp)


@dataclass(frozen=True)
class SeenSurroundings:
    """Each element, neighbour, number of neighbours and structure type of the training sites."""

    elements: frozenset[int]
    neighbours: frozenset[int]
    coordination: frozenset[int]
    structure_types: frozenset[str]

    @classmethod
    def of(cls, sites: Sequence[Surroundings]) -> Self:
        """Collect them from the training sites."""
        return cls(
            frozenset().union(*(site.elements for site in sites)),
            frozenset().union(*(site.neighbours for site in sites)),
            frozenset(site.coordination for site in sites),
            frozenset(site.structure_type for site in sites),
        )

    def never_seen(self, site: Surroundings) -> list[str]:
        """Return why a site is outside, as sentences."""
        reasons = []
        new = site.elements - self.elements
        if new:
            reasons.append(f"no training structure holds {_symbols(new)}")
        neighbours = site.neighbours - self.neighbours - new
        if neighbours:
            reasons.append(f"no training site has {_symbols(neighbours)} as a neighbour")
        if site.coordination not in self.coordination:
            reasons.append(f"no training site has {site.coordination} neighbours")
        return reasons

    def new_type(self, site: Surroundings) -> list[str]:
        """Return what is new about a site's structure type, as sentences."""
        if site.structure_type in self.structure_types:
            return []
        formula, group, symmetry = site.structure_type.split(" ", 2)
        return [
            f"no training site is in a structure of type {formula}, space group {group}, with the "
            f"site symmetry {symmetry}"
        ]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is stored; the types as UTF-8 text, a line each."""
        text = "\n".join(sorted(self.structure_types)).encode()
        return {
            "elements": np.array(sorted(self.elements), dtype=np.int64),
            "neighbours": np.array(sorted(self.neighbours), dtype=np.int64),
            "coordination": np.array(sorted(self.coordination), dtype=np.int64),
            "types": np.frombuffer(text, dtype=np.uint8),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read what `to_arrays` returned."""
        elements, neighbours, coordination = (
            frozenset(int(number) for number in arrays[name].astype(np.int64))
            for name in ("elements", "neighbours", "coordination")
        )
        types = arrays["types"].astype(np.uint8).tobytes().decode().split("\n")
        return cls(elements, neighbours, coordination, frozenset(types))


def _symbols(numbers: frozenset[int]) -> str:
    return ", ".join(Element.from_Z(number).symbol for number in sorted(numbers))
