"""What is refused before GPAW starts, and why it failed when it did."""

from __future__ import annotations

import json
from pathlib import Path

from pymatgen.core import Structure

from nearedge.codes.execution.stage import log_tail
from nearedge.codes.gpaw.programs import Installed
from nearedge.codes.gpaw.runner_files import FAILURE, GROUND_LOG, LOG, RUN_LOG, STATES_LOG
from nearedge.errors import CodeError, InputRefused

EDGES = ("K",)
"""GPAW's matrix elements are for s levels alone."""


def check_elements(structure: Structure, installed: Installed) -> None:
    """Refuse elements without a setup, where GPAW is at hand to say what it has.

    Raises
    ------
    InputRefused
        ``unsupported_element``.
    """
    symbols = {site.specie.symbol for site in structure}
    if installed.elements and (missing := sorted(symbols - installed.elements)):
        formula = structure.composition.reduced_formula
        raise InputRefused(
            "unsupported_element",
            f"GPAW has no PBE setup for {', '.join(missing)} in {formula}: use another code.",
        )


def why(folder: Path, return_code: int) -> CodeError:
    """Name the reason of a run that ended with an exit code other than zero."""
    logs = log_tail(folder, GROUND_LOG, LOG, STATES_LOG, RUN_LOG)
    try:
        left = json.loads((folder / FAILURE).read_text(encoding="utf-8"))
        name, message = str(left["name"]), str(left["message"])
    except (OSError, ValueError, LookupError, TypeError):
        return CodeError(
            "run_failed", f"GPAW ended with exit code {return_code}; its log says why.", logs
        )
    if name == "scf_not_converged":
        return CodeError(
            name,
            f"GPAW did not converge ({message}); look at the structure, or try more smearing.",
            logs,
        )
    return CodeError(name, f"GPAW failed: {message}.", logs)
