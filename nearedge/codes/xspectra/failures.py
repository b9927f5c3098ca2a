"""Named failures of pw.x and xspectra.x that their outputs show.

Both end with exit code 0 on some of them: xspectra.x where it cannot read the core wave function,
and where the recursion has not converged. So the text decides, not the code.
"""

from __future__ import annotations

import re

from nearedge.errors import CodeError

# What every program of Quantum ESPRESSO prints as it stops itself (errore.f90).
_ROUTINE = re.compile(r"Error in routine\s+(\S+)\s*\(\s*-?\d+\s*\):\s*\n\s*(.*)")
_CORE_WAVE_FUNCTION = re.compile(r"ERROR.*core wavefunction file")
_BY_ROUTINE = {
    "readpp": ("potential_missing", "pw.x cannot read a pseudopotential"),
    "read_upf": ("potential_missing", "pw.x cannot read a pseudopotential"),
    "cdiaghg": ("diagonalization_failed", "the diagonalisation broke down"),
    "c_bands": ("diagonalization_failed", "the bands did not converge"),
}
"""Name and sentence by the routine that stopped."""


def check_stopped(text: str, name: str, program: str) -> None:
    """Raise if a program stopped itself.

    Parameters
    ----------
    text, name
        Its output, and the file that has it.
    program
        ``pw`` or ``xspectra``.

    Raises
    ------
    CodeError
        ``core_wavefunction_unreadable``, ``potential_missing``, ``diagonalization_failed``, or for
        another reason ``pw_stopped`` or ``xspectra_stopped``.
    """
    if _CORE_WAVE_FUNCTION.search(text):
        raise CodeError(
            "core_wavefunction_unreadable",
            f"xspectra.x cannot read the core wave function ({name}).",
        )
    stopped = _ROUTINE.search(text)
    if stopped is None:
        return
    routine, reason = stopped.group(1), stopped.group(2).strip()
    if routine in _BY_ROUTINE:
        failure, sentence = _BY_ROUTINE[routine]
        raise CodeError(failure, f"{sentence[0].upper()}{sentence[1:]}: {reason} ({name}).")
    raise CodeError(
        f"{program}_stopped", f"{program}.x stopped in routine {routine}: {reason} ({name})."
    )
