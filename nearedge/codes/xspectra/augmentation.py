"""The sphere in which the all-electron waves are put back.

xspectra.x takes 1.5 times the matching radius of the absorber's p waves. Two waves a channel stand
for all energies only where the sphere is small, and beyond the matching radius nothing is to be put
back. Anatase's cross-section 60 eV above the edge over that of its main peak, for a second p wave
at 0.5, 1.5 and 3 Ry: 0.385, 0.389, 0.402 with 1.5 times the radius, 0.480, 0.466, 0.459 with the
radius itself, and 0.471 below it (measured, November 2026).
"""

from __future__ import annotations

import re

from nearedge.errors import InputRefused

# Version 2 of UPF has the radius as an attribute, version 1 in the first line of the pseudo wave.
_VERSION_2 = re.compile(
    r'<PP_GIPAW_ORBITAL\.\d+\s[^>]*\bl="\s*1"[^>]*\bcutoff_radius="\s*([\d.Ee+-]+)'
)
_VERSION_1 = re.compile(
    r"<PP_GIPAW_AE_ORBITAL>\s+\d[A-Z]\s+1\s.*?<PP_GIPAW_PS_ORBITAL>\s+([\d.]+)", re.DOTALL
)


def p_radius(upf: str, name: str) -> float:
    """Return the matching radius in bohr of the p waves that a potential brings.

    Parameters
    ----------
    upf, name
        Text and name of the absorber's potential.

    Raises
    ------
    InputRefused
        ``pseudo_refused`` if it states none.
    """
    found = [float(radius) for radius in (_VERSION_2.findall(upf) or _VERSION_1.findall(upf))]
    if not found or max(found) <= 0:
        raise InputRefused(
            "pseudo_refused",
            f"{name} states no radius of its p waves: make it with lgipaw_reconstruction in ld1.x.",
        )
    return max(found)
