"""The files that a core-hole calculation needs, from recipes or from a folder of the user's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nearedge.codes.xspectra.pseudo.generate import CHECKS, ld1_version, potential
from nearedge.codes.xspectra.pseudo.own import OwnFolder
from nearedge.codes.xspectra.pseudo.recipes import load_recipes, recipe_of
from nearedge.errors import InputRefused
from nearedge.schemas.document import content_hash
from nearedge.settings import get_settings

EDGE = "K"


@dataclass(frozen=True)
class PseudoSet:
    """The files of one calculation, and what is known of them.

    Parameters
    ----------
    files
        Name to text: each element's ground-state UPF, the absorber's with the core hole, and its
        core waves.
    ground_names
        Each element's file.
    core_hole_name, core_wavefunction_name
        The absorber's files.
    core_hole_charge
        What the core-hole ion has more than the ground-state ion: 1 for a full hole.
    identity
        One value for all structures: a hash of the recipes with ld1.x's version, or of the
        user's files.
    cutoff
        Suggested for these elements, in Ry; None where the user's files suggest none.
    valences
        Charge of each element's ground-state ion.
    checks
        What was measured of each made potential (``Ti``, ``Ti.fch``); empty for the user's.
    """

    files: dict[str, str]
    ground_names: dict[str, str]
    core_hole_name: str
    core_wavefunction_name: str
    core_hole_charge: float
    identity: str
    cutoff: float | None
    valences: dict[str, float]
    checks: dict[str, dict[str, float]]

    def name_of(self, element: str) -> str:
        """Return the name of an element's ground-state UPF."""
        return self.ground_names[element]

    def valence(self, element: str) -> float:
        """Return the valence electrons of an element's ground state."""
        return self.valences[element]


def pseudopotentials(elements: Sequence[str], absorber: str, edge: str = EDGE) -> PseudoSet:
    """Return the pseudopotentials for a core hole in `absorber` among `elements`.

    They come from the folder that the setting ``pseudo_path`` names, or else from ld1.x through
    the cache.

    Parameters
    ----------
    elements
        Symbols; the absorber's may be among them or not.
    absorber
        Symbol.
    edge
        Only K: the hole is in 1s.

    Raises
    ------
    InputRefused
        ``unsupported_edge``, ``unsupported_element``, ``ld1_missing``, or what is wrong with the
        user's own: ``pseudo_missing``, ``pseudo_ambiguous``, ``pseudo_refused``.
    CodeError
        ``ld1_failed``, ``ghost_state``, ``log_derivative`` or ``wrong_levels``: a potential that
        is not fit to be used.
    """
    if edge != EDGE:
        raise InputRefused(
            "unsupported_edge", f"XSpectra's core holes are in 1s: only the K edge, not {edge}."
        )
    wanted = sorted({*elements, absorber})
    folder = get_settings().pseudo_path
    return _made(wanted, absorber) if folder is None else _own(OwnFolder(folder), wanted, absorber)


def _made(wanted: Sequence[str], absorber: str) -> PseudoSet:
    recipes = {element: recipe_of(element) for element in wanted}
    made = {element: potential(element, recipes[element], hole=False) for element in wanted}
    hole = potential(absorber, recipes[absorber], hole=True)
    names = {element: f"{element}.UPF" for element in wanted}
    hole_name, core_name = f"{absorber}.fch.UPF", f"Core_{absorber}.wfc"
    files = {names[element]: each.upf for element, each in made.items()}
    return PseudoSet(
        files={**files, hole_name: hole.upf, core_name: made[absorber].core},
        ground_names=names,
        core_hole_name=hole_name,
        core_wavefunction_name=core_name,
        core_hole_charge=hole.valence - made[absorber].valence,
        identity=content_hash(
            {"recipes": load_recipes().model_dump(), "ld1": ld1_version(), "checks": CHECKS}
        ),
        cutoff=max(each.cutoff for each in (*made.values(), hole)),
        valences={element: each.valence for element, each in made.items()},
        checks={
            **{element: each.judgement for element, each in made.items()},
            f"{absorber}.fch": hole.judgement,
        },
    )


def _own(folder: OwnFolder, wanted: Sequence[str], absorber: str) -> PseudoSet:
    ground = {element: folder.ground_state(element) for element in wanted}
    hole = folder.core_hole(absorber, ground[absorber])
    core = folder.core_wavefunction(absorber, ground[absorber])
    cutoffs = [each.upf.header.cutoff for each in (*ground.values(), hole)]
    known = [cutoff for cutoff in cutoffs if cutoff is not None]
    return PseudoSet(
        files={
            **{each.name: each.upf.text for each in ground.values()},
            hole.name: hole.upf.text,
            core.name: core.text,
        },
        ground_names={element: each.name for element, each in ground.items()},
        core_hole_name=hole.name,
        core_wavefunction_name=core.name,
        core_hole_charge=hole.upf.header.valence - ground[absorber].upf.header.valence,
        identity=folder.identity(),
        cutoff=max(known) if len(known) == len(cutoffs) else None,
        valences={element: each.upf.header.valence for element, each in ground.items()},
        checks={},
    )
