"""What the surroundings of a site are like, in five numbers.

They are the descriptors of RankAAE (arXiv:2301.04724): charge (CT), coordination number (CN),
coordination number of the oxygen neighbours (OCN), spread of the neighbours' distances (RSTD) and
the least distance between two neighbours (MOOD, where they are oxygens). Neighbours are those that
pymatgen's CrystalNN finds.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations

import numpy as np
from pymatgen.analysis.bond_valence import BVAnalyzer
from pymatgen.analysis.local_env import CrystalNN
from pymatgen.core.composition import Composition
from pymatgen.core.sites import PeriodicSite
from pymatgen.core.structure import Structure

from nearedge.errors import StructureError
from nearedge.structures.checks import check_structure

DEFINITION = 1
"""Raised when a descriptor is computed otherwise: older ones are then computed again."""

DESCRIPTORS = ("CT", "CN", "OCN", "RSTD", "MOOD")
"""Their names in the paper, in its order."""

UNITS = {"CT": "e", "CN": "", "OCN": "", "RSTD": "Å", "MOOD": "Å"}

_DIGITS = 4
"""Of lengths in Å: sites that symmetry makes alike have equal numbers, not ranks of rounding."""

_TRIALS = 10_000
"""Assignments of valences that are tried for a structure. With pymatgen's own 100,000 one of 144
sites takes 16 CPU seconds, with these one, and comes to the same."""

_LARGEST_GUESS = 200
"""Atoms of a reduced formula up to which oxidation states are guessed: beyond, it takes minutes."""


@dataclass(frozen=True)
class SiteEnvironment:
    """The surroundings of one site; NaN where a number is not defined.

    Parameters
    ----------
    charge
        CT: oxidation state, in elementary charges.
    coordination
        CN: number of neighbours.
    oxygen_coordination
        OCN: mean coordination number of the oxygens among the neighbours.
    spread
        RSTD: standard deviation of the neighbours' distances in Å.
    ligand_distance
        MOOD: least distance between two neighbours in Å, O-O in an oxide.
    charge_source
        ``bond_valence``, ``guess`` or ``none``.
    reasons
        Name in `DESCRIPTORS` to why it is NaN.
    """

    charge: float
    coordination: float
    oxygen_coordination: float
    spread: float
    ligand_distance: float
    charge_source: str = "none"
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, float]:
        """The numbers by their names in `DESCRIPTORS`, in that order."""
        return {
            "CT": self.charge,
            "CN": self.coordination,
            "OCN": self.oxygen_coordination,
            "RSTD": self.spread,
            "MOOD": self.ligand_distance,
        }


def site_environments(structure: Structure, sites: Sequence[int]) -> list[SiteEnvironment]:
    """Describe the surroundings of some sites of an ordered crystal.

    Parameters
    ----------
    structure
        Its own oxidation states, where it has any, are not used.
    sites
        Indices, counted from zero.

    Notes
    -----
    The charge is what bond valences give (pymatgen's BVAnalyzer, which refuses structures whose
    sums fit no integers). Where they give none it is the most common oxidation states that make the
    formula neutral, averaged over the sites of the element, so that it may be a fraction; an
    element by itself has 0. Neighbours are found without oxidation states, so that those of one
    structure do not hang on whether it has any.

    Raises
    ------
    StructureError
        If the structure is none that can be computed on, or an index is not one of its sites.
    """
    check_structure(structure)
    for site in sites:
        if not 0 <= site < len(structure):
            raise StructureError(
                f"There is no site {site} in {structure.composition.reduced_formula} with its "
                f"{len(structure)} sites."
            )
    shells = _Shells(structure)
    charges, source, reason = _charges(structure)
    return [_environment(shells, site, charges[site], source, reason) for site in sites]


class _Shells:
    """The neighbours of the sites of one structure, each found once."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure.copy().remove_oxidation_states()
        self._finder = CrystalNN()  # type: ignore[no-untyped-call]
        self._found: dict[int, list[PeriodicSite]] = {}
        self._indices: dict[int, list[int]] = {}

    def neighbours(self, site: int) -> list[PeriodicSite]:
        """Return the neighbours with their positions; raises whatever CrystalNN does."""
        if site not in self._found:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of radii that it lacks and takes otherwise
                found = self._finder.get_nn_info(self._structure, site)
            self._found[site] = [each["site"] for each in found]
            self._indices[site] = [int(each["site_index"]) for each in found]
        return self._found[site]

    def oxygen_coordination(self, site: int) -> float:
        """Return the mean coordination number of the oxygens around `site`."""
        shell = self.neighbours(site)
        oxygens = [
            index
            for index, each in zip(self._indices[site], shell, strict=True)
            if each.specie.symbol == "O"
        ]
        if not oxygens:
            return float("nan")
        return float(np.mean([len(self.neighbours(index)) for index in oxygens]))

    def distances(self, site: int) -> list[float]:
        """Return the distances of the neighbours in Å."""
        centre = self._structure[site].coords
        return [float(np.linalg.norm(each.coords - centre)) for each in self.neighbours(site)]


def _environment(
    shells: _Shells, site: int, charge: float, source: str, reason: str
) -> SiteEnvironment:
    nan = float("nan")
    reasons = {} if source != "none" else {"CT": reason}
    try:
        shell = shells.neighbours(site)
        distances = shells.distances(site)
        oxygen = shells.oxygen_coordination(site)
    # CrystalNN lets through what its Voronoi search, its radii and its tables raise.
    except Exception as error:
        why = f"CrystalNN failed: {type(error).__name__}: {error}"
        reasons |= dict.fromkeys(DESCRIPTORS[1:], why)
        return SiteEnvironment(charge, nan, nan, nan, nan, source, reasons)
    positions = [each.coords for each in shell]
    if np.isnan(oxygen):
        reasons["OCN"] = "No neighbour is oxygen."
    if not shell:
        reasons["RSTD"] = "There is no neighbour."
    if len(shell) < 2:
        reasons["MOOD"] = "There are not two neighbours."
    return SiteEnvironment(
        charge=charge,
        coordination=float(len(shell)),
        oxygen_coordination=oxygen,
        spread=round(float(np.std(distances)), _DIGITS) if shell else nan,
        ligand_distance=min(
            (round(float(np.linalg.norm(a - b)), _DIGITS) for a, b in combinations(positions, 2)),
            default=nan,
        ),
        charge_source=source,
        reasons=reasons,
    )


def _charges(structure: Structure) -> tuple[list[float], str, str]:
    """Return the charge of every site, where it is from, and why there is none."""
    bare = structure.copy().remove_oxidation_states()
    analyzer = BVAnalyzer(max_permutations=_TRIALS)  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [float(each) for each in analyzer.get_valences(bare)], "bond_valence", ""
    # ValueError where no integers fit; KeyError and others for elements without parameters.
    except Exception as error:
        reason = f"Bond valences: {error}"
    guessed = _guessed(bare.composition.reduced_formula)
    if guessed is None:
        nothing = [float("nan")] * len(structure)
        return nothing, "none", f"{reason} No common oxidation states make the formula neutral."
    return [guessed[site.specie.symbol] for site in bare], "guess", ""


@lru_cache(maxsize=256)
def _guessed(formula: str) -> dict[str, float] | None:
    """Return the likeliest oxidation states that make a formula neutral, or None."""
    composition = Composition(formula)
    if composition.num_atoms > _LARGEST_GUESS:
        return None
    guesses = composition.oxi_state_guesses()
    return {str(symbol): float(state) for symbol, state in guesses[0].items()} if guesses else None
