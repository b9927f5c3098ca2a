"""Named failures of VASP: what its output says when it stops."""

from __future__ import annotations

from nearedge.codes.signs import Sign, failure_by_signs
from nearedge.errors import CodeError

LOG = "vasp.log"
# The first match wins.
_SIGNS = (
    Sign(
        r"POTCAR[^\n]*(?:not|missing|different)|(?:ERROR|error)[^\n]*POTCAR",
        "potentials_missing",
        "POTCAR does not fit POSCAR",
    ),
    Sign(
        r"TOO FEW BANDS|NBANDS[^\n]*too small", "too_few_bands", "there are too few bands (NBANDS)"
    ),
    Sign(
        r"CLNT|ICORELEVEL[^\n]*error",
        "core_level_refused",
        "the core level is refused (CLNT, CLN, CLL)",
    ),
    Sign(r"VERY BAD NEWS", "stage_failed", "an internal error"),
)


def failure_of(return_code: int, log: str) -> CodeError:
    """Name the failure of a run that ended with an exit code other than 0."""
    return failure_by_signs("VASP", _SIGNS, return_code, log)
