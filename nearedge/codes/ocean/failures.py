"""Named failures of OCEAN: what its stages' logs say.

OCEAN is a chain of Perl scripts that end with ``... stage failed``; the density-functional part
writes Quantum ESPRESSO's output.
"""

from __future__ import annotations

import re
from pathlib import Path

from nearedge.codes.outputs import find_packed, read_packed
from nearedge.codes.signs import Sign, failure_by_signs
from nearedge.errors import CodeError

LOG = "ocean.log"
SCF_OUTPUTS = ("DFT/scf.out", "DFT/SCF/scf.out", "scf.out")
"""Where pw.x leaves its output, below the run's folder."""
_STAGE = re.compile(r"^\s*(.{1,40}?)\s+stage failed", re.IGNORECASE | re.MULTILINE)
# The first match wins.
_SIGNS = (
    Sign(
        r"(?i)(?:cannot|failed to|unable to) (?:open|find|locate)[^\n]*(?:psp|pseudo|pp_database)|"
        r"database[^\n]*not found",
        "pseudopotential_missing",
        "it finds no pseudopotential: install its database (pp_database in ocean.in)",
    ),
    Sign(
        r"(?i)convergence NOT achieved",
        "scf_not_converged",
        "the self-consistent field did not converge",
    ),
)


def check_scf(folder: Path) -> None:
    """Raise if the density-functional part did not converge, where its output was kept.

    Raises
    ------
    CodeError
        ``scf_not_converged``.
    """
    for name in SCF_OUTPUTS:
        path = find_packed(folder, name)
        if path is not None and "convergence NOT achieved" in (text := read_packed(path)):
            raise CodeError(
                "scf_not_converged",
                f"{name}: the self-consistent field did not converge.",
                text[-2000:],
            )


def failure_of(return_code: int, log: str) -> CodeError:
    """Name the failure of a run that ended with an exit code other than 0."""
    stage = _STAGE.search(log)
    where = f" in its stage {stage.group(1).split()[-1]}" if stage else ""
    return failure_by_signs("OCEAN", _SIGNS, return_code, log, where=where)
