"""Named failures of Elk, from what it prints: it stops with exit code 0 whatever happens."""

from __future__ import annotations

import re

from nearedge.codes.execution.stage import MEMORY_SIGNS
from nearedge.codes.signs import Sign, first_sign
from nearedge.errors import CodeError, NearEdgeError, ResourceError

# The first match wins.
_SIGNS = (
    Sign(
        r"Error\(genidxbse\): not enough conduction states",
        "not_enough_empty_states",
        "fewer empty states were computed than the BSE is to use; raise screening_energy_range",
    ),
    Sign(
        r"Error\(genidxbse\): extra valence state above Fermi energy",
        "core_level_not_found",
        "the state that should be the 1s level is empty",
    ),
    Sign(r"Error\(checkmt\)", "spheres_too_small", "atoms are too close together for its spheres"),
    Sign(
        r"Error\(eveqn\w*\)|Error\(rhonorm\)|Error\(\w*init\w*\).*lapack",
        "eigenvalue_problem",
        "its eigenvalue problem cannot be solved: the basis is nearly linearly dependent",
    ),
    Sign(
        r"Error\(read(?:input|species)\)|error opening elk\.in",
        "bad_input",
        "it does not understand its input",
    ),
    Sign(r"Error\(\w+\)", "stage_failed", "see its log"),
)
_STOPPED = "Elk code stopped"
_NOT_CONVERGED = re.compile(r"failed to reach self-consistency after\s+(\d+)")
_NOT_FOUND = re.compile(
    r"Warning\(linengy\): could not find\s+(\d+) linearisation energies in s\.c\. loop\s+(\d+)"
)


def failure_in(log: str, stage: str) -> NearEdgeError | None:
    """Return the failure that a stage's output tells of, or None.

    Parameters
    ----------
    log
        What Elk printed.
    stage
        What messages call the stage.
    """
    if MEMORY_SIGNS.search(log):
        return ResourceError(f"{stage} got no memory: run it where there is more.")
    if seen := first_sign(_SIGNS, log):
        sign, words = seen
        return CodeError(
            sign.name, f"{stage} stopped with {words!r}: {sign.sentence}.", log[-2000:]
        )
    if match := _NOT_CONVERGED.search(log):
        return CodeError(
            "scf_not_converged",
            f"{stage}: the self-consistent field did not converge in {match.group(1)} loops.",
            log[-2000:],
        )
    if _STOPPED not in log:
        return CodeError("stage_failed", f"{stage} ended without its last line.", log[-2000:])
    return None


def energies_not_found(log: str, loops: int) -> int:
    """Return how many linearisation energies the last loop of an SCF did not find.

    Earlier loops may miss some: the potential of another sphere is not yet the right one.
    """
    return sum(int(n) for n, loop in _NOT_FOUND.findall(log) if int(loop) >= loops)
