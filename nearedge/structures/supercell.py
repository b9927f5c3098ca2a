"""The cell around a core hole: as small as can be with the hole's images a given distance apart."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from nearedge.errors import StructureError
from nearedge.spectra.spectrum import FloatArray
from nearedge.structures.symmetry import symmetry_dataset

MAX_IMAGE_DISTANCE = 30.0
"""Å. More than any converged calculation uses, and far more atoms than any code here can take."""
_TOLERANCE = 1e-6
_BLOCK = 4_000_000
IntArray = NDArray[np.int64]


def core_hole_supercell(
    structure: Structure, absorbing_index: int, image_distance: float
) -> tuple[Structure, int]:
    """Return the smallest supercell whose core holes are `image_distance` apart.

    Parameters
    ----------
    structure
        An ordered structure in any of its cells: the search starts from the primitive one, so that
        equal materials give equal supercells.
    absorbing_index
        The site in `structure` that gets the core hole.
    image_distance
        Å. The absorber's nearest periodic image is at least this far away; 0 gives the primitive
        cell.

    Returns
    -------
    tuple[Structure, int]
        The supercell, with three shortest vectors of its lattice as its cell and elements only on
        its sites, and the absorber's index in it. The absorber comes first, so that index is 0; the
        other sites follow in the order of their elements in `structure`.

    Raises
    ------
    StructureError
        If the distance is negative, beyond `MAX_IMAGE_DISTANCE` or not finite, the site does not
        exist, or a site is not occupied by exactly one element.

    Notes
    -----
    All sublattices of an index are searched, by their Hermite normal forms (Santoro and Mighell,
    Acta Cryst. A 28, 284 (1972)), not the diagonal ones only. Among the smallest that fulfil the
    distance, one that keeps the most of the crystal's point group is taken, then the one with the
    most distant images.
    """
    if not 0 <= image_distance <= MAX_IMAGE_DISTANCE:
        raise StructureError(
            f"A distance between core holes must be 0 to {MAX_IMAGE_DISTANCE:g} Å, not "
            f"{image_distance} Å."
        )
    if not 0 <= absorbing_index < len(structure):
        raise StructureError(
            f"Site {absorbing_index} does not exist: {structure.composition.reduced_formula} has "
            f"sites 0 to {len(structure) - 1}."
        )
    primitive = _primitive(structure, absorbing_index)
    matrix = _sublattice(primitive, image_distance)
    return _filled(primitive, _reduced(matrix @ primitive.lattice.matrix)), 0


def shortest_vector(lattice: Lattice) -> float:
    """Return the length in Å of a lattice's shortest vector: a site's distance to its image."""
    return float(np.linalg.norm(_reduced(lattice.matrix)[0]))


def _primitive(structure: Structure, absorbing_index: int) -> Structure:
    """Return the primitive cell in the orientation given, the absorber as its first site."""
    dataset = symmetry_dataset(structure)
    mapping = np.arange(len(structure))
    lattice = structure.lattice
    if dataset is not None:
        mapping = np.asarray(dataset.mapping_to_primitive)
        lattice = Lattice(dataset.primitive_lattice)
    others = np.flatnonzero(mapping != mapping[absorbing_index])
    first = np.unique(mapping[others], return_index=True)[1]
    sites = [absorbing_index, *sorted(int(index) for index in others[first])]
    return Structure(
        Lattice(_reduced(lattice.matrix)),
        [structure[index].specie.symbol for index in sites],
        structure.cart_coords[sites],
        coords_are_cartesian=True,
        to_unit_cell=True,
    )


def _sublattice(primitive: Structure, image_distance: float) -> IntArray:
    """Return the chosen sublattice as integer combinations of the primitive vectors, rows."""
    lattice = primitive.lattice
    short = _vectors_within(lattice, image_distance - _TOLERANCE)
    dataset = symmetry_dataset(primitive)
    found = [np.eye(3)] if dataset is None else np.unique(dataset.rotations, axis=0)
    rotations = np.asarray(found, dtype=np.int64)
    # No lattice has less volume for its shortest vector than the close packing.
    cells = max(1, int(np.ceil(image_distance**3 / np.sqrt(2.0) / lattice.volume - _TOLERANCE)))
    while True:
        forms = _hermite_normal_forms(cells)
        free = forms[~_contains_any(forms, short)]
        if len(free):
            return max(free, key=lambda form: _merit(form, rotations, lattice))
        cells += 1


def _merit(form: IntArray, rotations: NDArray[np.int64], lattice: Lattice) -> tuple[int, float]:
    """Return how many rotations keep the sublattice, and its shortest vector in Å."""
    turned = form @ np.swapaxes(rotations, 1, 2) @ np.linalg.inv(form)
    kept = np.all(np.abs(turned - np.rint(turned)) < _TOLERANCE, axis=(1, 2))
    shortest = float(np.linalg.norm(_reduced(form @ lattice.matrix)[0]))
    return int(kept.sum()), round(shortest, 6)


def _vectors_within(lattice: Lattice, radius: float) -> IntArray:
    """Return the lattice's vectors up to `radius` (Å), without zero, shape ``(n, 3)``."""
    if radius <= 0:
        return np.empty((0, 3), dtype=np.int64)
    coordinates = cast(
        tuple[FloatArray, FloatArray, IntArray, FloatArray],
        lattice.get_points_in_sphere([[0.0, 0.0, 0.0]], [0.0, 0.0, 0.0], radius, zip_results=False),
    )[0]
    vectors = np.rint(coordinates).astype(np.int64).reshape(-1, 3)
    return vectors[np.any(vectors != 0, axis=1)]


def _hermite_normal_forms(determinant: int) -> IntArray:
    """Return one lower triangular matrix for each sublattice of this index, shape ``(n, 3, 3)``."""
    forms = []
    for a in _divisors(determinant):
        for c in _divisors(determinant // a):
            b, d, e = (axis.ravel() for axis in np.mgrid[0:a, 0:a, 0:c])
            form = np.zeros((len(b), 3, 3), dtype=np.int64)
            form[:, 0, 0], form[:, 1, 0], form[:, 1, 1] = a, b, c
            form[:, 2, 0], form[:, 2, 1], form[:, 2, 2] = d, e, determinant // (a * c)
            forms.append(form)
    return np.concatenate(forms)


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]


def _contains_any(forms: IntArray, vectors: IntArray) -> NDArray[np.bool_]:
    """Whether each sublattice holds one of the vectors, shape ``(n_forms,)``."""
    found = np.zeros(len(forms), dtype=bool)
    rows = max(1, _BLOCK // (3 * len(vectors) + 1))
    for start in range(0, len(forms), rows):
        block = forms[start : start + rows, :, :, None]
        # vector = k @ form, solved from the last row upwards, stays in integers where it is inside.
        x, y, z = vectors.T
        k, inside = np.divmod(z, block[:, 2, 2])
        m, rest = np.divmod(y - k * block[:, 2, 1], block[:, 1, 1])
        last = (x - k * block[:, 2, 0] - m * block[:, 1, 0]) % block[:, 0, 0]
        found[start : start + rows] = np.any((inside == 0) & (rest == 0) & (last == 0), axis=1)
    return found


def _reduced(matrix: FloatArray) -> FloatArray:
    """Return three shortest independent vectors of a lattice, rows, right-handed.

    In three dimensions the successive minima are a basis (van der Waerden, Acta Math. 96, 265
    (1956)), and from an LLL basis they lie within two steps along each vector.
    """
    basis = Lattice(matrix).get_lll_reduced_lattice().matrix
    steps = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    steps = steps[np.any(steps != 0, axis=1)]
    vectors = steps @ basis
    lengths = np.linalg.norm(vectors, axis=1).round(6)
    # Of equally long ones that nearest to the positive axes, whatever basis was given.
    order = np.lexsort((*(-vectors.round(6)).T, lengths))
    chosen: list[FloatArray] = []
    for vector in vectors[order]:
        trial = np.array([*chosen, vector])
        if np.linalg.matrix_rank(trial, tol=_TOLERANCE * float(lengths.max())) == len(trial):
            chosen.append(vector)
        if len(chosen) == 3:
            break
    result = np.array(chosen)
    if np.linalg.det(result) < 0:
        result[2] *= -1
    return result


def _filled(primitive: Structure, matrix: FloatArray) -> Structure:
    """Return the crystal in the cell `matrix`, its first site the first."""
    multiples = np.rint(matrix @ primitive.lattice.inv_matrix).astype(np.int64)
    supercell = primitive.make_supercell(multiples, in_place=False)
    elements = list(dict.fromkeys(site.specie.symbol for site in primitive))
    absorber = int(
        np.argmin(
            supercell.lattice.get_all_distances(
                supercell.lattice.get_fractional_coords(primitive.cart_coords[0]),
                supercell.frac_coords,
            )
        )
    )
    rest = [index for index in range(len(supercell)) if index != absorber]
    rest.sort(key=lambda index: elements.index(supercell[index].specie.symbol))
    order = [absorber, *rest]
    return Structure(
        supercell.lattice,
        [supercell[index].specie.symbol for index in order],
        supercell.frac_coords[order],
    )
