"""Named failures of VASP: what its output says when it stops."""

from __future__ import annotations

import re

from nearedge.errors import CodeError

LOG = "vasp.log"
# Pattern in the log, name, sentence; the first match wins.
_SIGNS = (
    (
        r"POTCAR[^\n]*(?:not|missing|different)|(?:ERROR|error)[^\n]*POTCAR",
        "potentials_missing",
        "POTCAR does not fit POSCAR",
    ),
    (r"TOO FEW BANDS|NBANDS[^\n]*too small", "too_few_bands", "there are too few bands (NBANDS)"),
    (
        r"CLNT|ICORELEVEL[^\n]*error",
        "core_level_refused",
        "the core level is refused (CLNT, CLN, CLL)",
    ),
    (r"VERY BAD NEWS", "stage_failed", "an internal error"),
)


def failure_of(return_code: int, log: str) -> CodeError:
    """Name the failure of a run that ended with an exit code other than 0."""
    for pattern, name, sentence in _SIGNS:
        if re.search(pattern, log):
            return CodeError(name, f"VASP stopped: {sentence}; see its log.", log)
    return CodeError(
        "stage_failed", f"VASP stopped with exit code {return_code}; see its log.", log
    )
