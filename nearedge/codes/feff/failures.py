"""Named failures of FEFF: what is refused before a run, and what a dead run's logs say.

feff10 reports success for several inputs on which FEFF computes something else or nothing (an edge
it does not know, an atom that it drops, potentials that did not converge), and it reports a failed
stage without the reason; the rules here were found by giving it such inputs.
"""

from __future__ import annotations

import re

import numpy as np
from scipy.spatial import KDTree

from nearedge.codes import site
from nearedge.codes.execution.stage import DISK_SIGNS, MEMORY_SIGNS
from nearedge.codes.feff.deck import Deck, parse_deck
from nearedge.codes.signs import Sign, first_sign
from nearedge.errors import CodeError, InputRefused, NearEdgeError, ResourceError
from nearedge.spectra.spectrum import FloatArray

EDGES = ("K", "L1", "L2", "L3")
MAX_ATOMIC_NUMBER = 98
"""FEFF's tables of widths and edges end at californium; beyond it, it invents energies."""
MAX_POTENTIALS = 31
"""FEFF's array dimension nphx, without the absorber; feff10 is compiled with 32."""
MIN_DISTANCE = 0.8
"""Å. Below it FEFF's potentials fail (`FRNRM`, `corval`), or it drops the atom without a word."""
MIN_CORE_DISTANCE = 0.5
"""Å. Bonds to hydrogen are as short as 0.74 Å."""

# The first match wins.
_SIGNS = (
    Sign(r"No atoms or overlap", "unused_potential", "a potential belongs to no atom"),
    Sign(
        r"Reduce convergence factors in SCF|Cannot run with specified ca1",
        "bad_input",
        "the mixing in the SCF card is out of range",
    ),
    Sign(
        r"FRNRM|Cannot determine Norman radius",
        "norman_radius",
        "an atom has too few neighbours for its Norman radius; is the absorber isolated, or is the "
        "cell mostly empty?",
    ),
    Sign(
        r"Cannot find all representative atoms",
        "fms_radius_too_small",
        "a kind of atom is not within the radius of FMS or SCF",
    ),
    # Tried again with safer mixing, as where iterations ran out.
    Sign(
        r"Bad counts found repeatedly",
        "scf_not_converged",
        "the self-consistent field lost count of its electrons",
    ),
    Sign(r"TWO ATOMS VERY CLOSE", "atoms_too_close", "two atoms are very close together"),
    Sign(
        r"subroutine corval|CORVAL",
        "core_valence_separation",
        "core and valence states cannot be told apart; check for atoms that are too close",
    ),
)
_KILLED_SIGNS = re.compile(r"signal:? ?(9|15)\b|SIGKILL|SIGTERM")


def check_deck(text: str) -> Deck:
    """Read a deck, and refuse one that FEFF would fail on, or silently take for another.

    Raises
    ------
    InputRefused
        ``bad_input``, or what `check_parsed` raises.
    """
    deck = parse_deck(text)
    check_parsed(deck)
    return deck


def check_parsed(deck: Deck) -> None:
    """Refuse what FEFF would fail on, or silently take for another.

    Raises
    ------
    InputRefused
        Named ``bad_input``, ``unknown_edge``, ``edge_not_in_element``, ``unsupported_element``,
        ``non_finite_coordinate``, ``isolated_absorber``, ``atoms_too_close``,
        ``too_many_potentials`` or ``unused_potential``.
    """
    _check_potentials(deck)
    check_edge(deck.atomic_numbers[0], deck.edge)
    deck.absorber()
    if not np.all(np.isfinite(deck.positions)):
        bad = int(np.argmin(np.all(np.isfinite(deck.positions), axis=1)))
        raise InputRefused(
            "non_finite_coordinate",
            f"Atom {bad} of feff.inp has a coordinate that is not a number.",
        )
    deck.argument("SCF", 0)  # refused here if it is no number
    _check_neighbours(deck)
    numbers = deck.atomic_numbers
    hydrogen = np.array([numbers[index] == 1 for index in deck.potential_of])
    _check_distances(deck.positions, hydrogen)


def check_edge(atomic_number: int, edge: str) -> None:
    """Refuse an edge that is unknown, or that the element does not have.

    Raises
    ------
    InputRefused
        ``unknown_edge``, ``unsupported_element`` or ``edge_not_in_element``.
    """
    check_element(atomic_number)
    site.check_edge(atomic_number, edge, EDGES, "FEFF")


def check_element(atomic_number: int) -> None:
    """Refuse an element beyond FEFF's tables.

    Raises
    ------
    InputRefused
        ``unsupported_element``.
    """
    if not 1 <= atomic_number <= MAX_ATOMIC_NUMBER:
        raise InputRefused(
            "unsupported_element",
            f"FEFF has data for Z = 1 to {MAX_ATOMIC_NUMBER}, not for Z = {atomic_number}.",
        )


def _check_potentials(deck: Deck) -> None:
    numbers = [each.index for each in deck.potentials]
    if 0 not in numbers or len(set(numbers)) != len(numbers):
        raise InputRefused(
            "bad_input", f"feff.inp: POTENTIALS must be numbered from 0 without repeats: {numbers}."
        )
    if len(numbers) > MAX_POTENTIALS + 1:
        raise InputRefused(
            "too_many_potentials",
            f"feff.inp has {len(numbers) - 1} potentials besides the absorber's; FEFF takes "
            f"{MAX_POTENTIALS}.",
        )
    for each in deck.potentials:
        check_element(each.atomic_number)
    used = set(deck.potential_of)
    if unknown := sorted(used - set(numbers)):
        raise InputRefused("bad_input", f"feff.inp: atoms use potential {unknown[0]}, not defined.")
    if unused := sorted(set(numbers) - used - {0}):
        raise InputRefused("unused_potential", f"feff.inp: potential {unused[0]} has no atom.")


def _check_neighbours(deck: Deck) -> None:
    """Refuse an absorber that FMS sees alone: FEFF would fail, or give a free atom's spectrum."""
    radius = deck.argument("FMS", 0)
    nearest = deck.nearest_neighbour()
    if not nearest <= (np.inf if radius is None else radius) or np.isinf(nearest):
        reach = "at all" if radius is None else f"within the FMS radius of {radius:g} Å"
        raise InputRefused(
            "isolated_absorber",
            f"The absorber has no neighbour {reach}; use a protocol with a larger radius, if there "
            "are neighbours farther out.",
        )


def warnings_for(deck: Deck) -> list[str]:
    """Return what a reader of the spectrum should know of a deck that FEFF computes."""
    radius = deck.argument("SCF", 0)
    if radius is not None and deck.nearest_neighbour() > radius:
        return [
            f"The nearest neighbour is {deck.nearest_neighbour():.2f} Å away, beyond the SCF "
            f"radius of {radius:g} Å: the potentials are nearly those of free atoms."
        ]
    return []


def _check_distances(positions: FloatArray, hydrogen: np.ndarray) -> None:
    """Find the pairs that are too close; hydrogen's bonds may be shorter."""
    if not len(KDTree(positions).query_pairs(1.001 * MIN_DISTANCE, output_type="ndarray")):
        return
    order = np.argsort(positions[:, 0], kind="stable")
    x = positions[order]
    for step in range(1, len(x)):
        near = np.nonzero(x[step:, 0] - x[:-step, 0] < MIN_DISTANCE)[0]
        if not len(near):
            return
        distance = np.linalg.norm(x[near + step] - x[near], axis=1)
        light = hydrogen[order[near]] | hydrogen[order[near + step]]
        bad = distance < np.where(light, MIN_CORE_DISTANCE, MIN_DISTANCE)
        if np.any(bad):
            where = int(np.argmax(bad))
            first, second = sorted((int(order[near[where]]), int(order[near[where] + step])))
            raise InputRefused(
                "atoms_too_close",
                f"Atoms {first} and {second} of the cluster are {distance[where]:.2f} Å apart; "
                f"FEFF needs {MIN_DISTANCE} Å ({MIN_CORE_DISTANCE} Å to hydrogen).",
            )


def failure_of(message: str, logs: str, stage: str) -> NearEdgeError:
    """Name the failure of a run from feff10's message and FEFF's logs.

    Parameters
    ----------
    message
        What feff10 raised.
    logs
        The tails of the logs.
    stage
        The stage that was running.
    """
    said = f"{message}\n{logs}"
    if DISK_SIGNS.search(said):
        return ResourceError(f"The disk was full in FEFF's stage {stage}: free some and run again.")
    if MEMORY_SIGNS.search(said):
        return ResourceError(f"FEFF's stage {stage} got no memory: run it where there is more.")
    if _KILLED_SIGNS.search(message):
        return ResourceError(f"FEFF's stage {stage} was killed from outside: run it again.")
    if "timed out" in message or "timeout" in message.lower():
        said = message.splitlines()[0]
        return CodeError("stage_timeout", f"FEFF took too long: {said}; allow more time.", logs)
    if seen := first_sign(_SIGNS, said):
        sign, _ = seen
        return CodeError(sign.name, f"FEFF stopped in stage {stage}: {sign.sentence}.", logs)
    return CodeError(
        "stage_failed", f"FEFF stopped in stage {stage} without a known reason; see its log.", logs
    )
