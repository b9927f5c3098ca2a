"""What a program's output says when it stops: patterns, and the failures that they are signs of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nearedge.errors import CodeError


@dataclass(frozen=True)
class Sign:
    """A pattern (a regular expression, as `re` has them) in the output of a program.

    Parameters
    ----------
    pattern
        Of the output; ``(?i)`` before it where case does not matter.
    name
        The failure.
    sentence
        What is wrong, in lower case and without a full stop.
    """

    pattern: str
    name: str
    sentence: str


def first_sign(signs: Sequence[Sign], said: str) -> tuple[Sign, str] | None:
    """Return the first of `signs` that is in the output, with the words that it was seen in."""
    for sign in signs:
        if found := re.search(sign.pattern, said):
            return sign, found.group(0)
    return None


def failure_by_signs(
    program: str, signs: Sequence[Sign], return_code: int, log: str, *, where: str = ""
) -> CodeError:
    """Name the failure of a program that ended with an exit code other than 0.

    Parameters
    ----------
    program
        What messages call it.
    signs
        The first that is in `log` gives the name.
    where
        `` in its stage SCREEN``, where the log says so and no sign is in it.

    Returns
    -------
    CodeError
        ``stage_failed`` where there is no sign.
    """
    if seen := first_sign(signs, log):
        sign, _ = seen
        return CodeError(sign.name, f"{program} stopped: {sign.sentence}; see its log.", log)
    return CodeError(
        "stage_failed",
        f"{program} stopped{where} with exit code {return_code}; see its log.",
        log,
    )
