"""Radii of the muffin-tin spheres, the same for all atoms of an element."""

from __future__ import annotations

from collections.abc import Mapping

from pymatgen.core import Structure

from nearedge.spectra.spectrum import BOHR

GAP = 0.05
"""bohr. Elk's rmtdelta: spheres are kept this far apart."""
REACH = 6.0
"""bohr. Spheres of atoms farther apart do not touch: the largest in Elk's files have 3.0 bohr."""


def shortest_distances(structure: Structure) -> dict[tuple[str, str], float]:
    """Return the shortest distance in bohr between atoms of each pair of elements, sorted names."""
    symbols = [site.specie.symbol for site in structure]
    centers, points, _, distances = structure.get_neighbor_list(REACH * BOHR)
    found: dict[tuple[str, str], float] = {}
    for center, point, distance in zip(centers, points, distances, strict=True):
        first, second = sorted((symbols[center], symbols[point]))
        found[first, second] = min(distance / BOHR, found.get((first, second), distance / BOHR))
    return found


def fitted(
    radii: Mapping[str, float], distances: Mapping[tuple[str, str], float]
) -> dict[str, float]:
    """Shrink radii (bohr) until no spheres come closer than `GAP`, as Elk itself does it.

    Elk does it species by species, which would give the absorber another radius than its equals.
    """
    fitting = dict(radii)
    while True:
        (first, second), room = min(
            ((pair, d - fitting[pair[0]] - fitting[pair[1]]) for pair, d in distances.items()),
            key=lambda each: each[1],
            default=(("", ""), GAP),
        )
        if room >= GAP - 1e-6:
            return fitting
        total = fitting[first] + fitting[second]
        share = (total + room - GAP) / total
        fitting[first] *= share
        if first != second:
            fitting[second] *= share
