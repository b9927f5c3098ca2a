"""The simulation codes, by name."""

from __future__ import annotations

from nearedge.codes.base import Code, CodeResult, InputSet, Progress
from nearedge.codes.elk import ELK
from nearedge.codes.exciting import EXCITING
from nearedge.codes.feff import FEFF
from nearedge.codes.gpaw import GPAW
from nearedge.codes.ocean import OCEAN
from nearedge.codes.vasp import VASP
from nearedge.codes.xspectra import XSPECTRA
from nearedge.errors import InputRefused

__all__ = ["Code", "CodeResult", "InputSet", "Progress", "code_names", "get_code"]

_CODES: dict[str, Code] = {
    code.name: code for code in (FEFF, XSPECTRA, ELK, GPAW, OCEAN, EXCITING, VASP)
}


def code_names() -> tuple[str, ...]:
    """Return the names of all codes."""
    return tuple(_CODES)


def get_code(name: str) -> Code:
    """Return a code by its name.

    Raises
    ------
    InputRefused
        ``unknown_code``.
    """
    try:
        return _CODES[name]
    except KeyError:
        known = ", ".join(_CODES)
        raise InputRefused("unknown_code", f"No code is called {name!r}; known: {known}.") from None
