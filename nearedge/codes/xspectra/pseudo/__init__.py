"""The pseudopotentials of XSpectra: made by ld1.x from recipes, or the user's own."""

from __future__ import annotations

from nearedge.codes.xspectra.pseudo.choose import PseudoSet, pseudopotentials

__all__ = ["PseudoSet", "pseudopotentials"]
