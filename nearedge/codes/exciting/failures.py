"""Named failures of exciting: what ``INFO.OUT``, ``INFOXS.OUT`` and its standard output say."""

from __future__ import annotations

import re
from pathlib import Path

from nearedge.codes.outputs import find_packed, read_packed
from nearedge.codes.signs import Sign, failure_by_signs
from nearedge.errors import CodeError

LOG = "exciting.log"
GROUND_STATE, EXCITED_STATE = "INFO.OUT", "INFOXS.OUT"
_STARTED = re.compile(r"started for task\s+(\d+)")
_STOPPED = re.compile(r"stopped for task\s+(\d+)")
# The first match wins.
_SIGNS = (
    Sign(
        r"(?i)Reached self-consistent loops maximum",
        "scf_not_converged",
        "the ground state did not converge",
    ),
    Sign(
        r"(?i)(?:species|speciespath)[^\n]*(?:not found|does not exist|cannot)|"
        r"(?:error opening|cannot open|No such file)[^\n]*\.xml",
        "species_missing",
        "a species file is missing",
    ),
    Sign(
        r"(?i)not enough (?:empty )?states|nempty", "too_few_bands", "there are too few empty bands"
    ),
)


def check_logs(folder: Path) -> None:
    """Raise if the ground state did not converge or the last task did not end.

    Raises
    ------
    CodeError
        ``scf_not_converged`` or ``output_truncated``.
    """
    ground = find_packed(folder, GROUND_STATE)
    if ground is not None:
        text = read_packed(ground)
        if "Reached self-consistent loops maximum" in text:
            raise CodeError(
                "scf_not_converged",
                f"{GROUND_STATE}: the ground state did not converge.",
                text[-2000:],
            )
    excited = find_packed(folder, EXCITED_STATE)
    if excited is not None:
        text = read_packed(excited)
        started, stopped = _STARTED.findall(text), _STOPPED.findall(text)
        if started and (not stopped or started[-1] != stopped[-1] or len(started) > len(stopped)):
            raise CodeError(
                "output_truncated",
                f"{EXCITED_STATE}: task {started[-1]} did not come to its end.",
                text[-2000:],
            )


def failure_of(return_code: int, log: str) -> CodeError:
    """Name the failure of a run that ended with an exit code other than 0."""
    return failure_by_signs("exciting", _SIGNS, return_code, log)
