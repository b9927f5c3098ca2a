"""The sphere in which the all-electron waves are put back.

xspectra.x takes 1.5 times the matching radius of the absorber's p waves. Two waves a channel must
stand for all energies, and the sphere decides how well they do. Anatase's Ti K edge (6 atoms)
against the mean of four with three p waves, which agree whatever the sphere: mean squared error of
spectra with a mean of one over 50 eV, and scale, for the matching radius times 1.0, 1.25, 1.5
(measured, November 2026):

=====================  ==============  ==============  ==============
second p wave          1.0             1.25            1.5
=====================  ==============  ==============  ==============
the ion's bound 4P                                     9e-3, 0.55
unbound at 1.5 Ry      9e-5, 0.96      2e-6, 0.98      4e-4, 1.03
unbound at 6 Ry        3e-5, 0.93      3e-5, 1.00      7e-6, 1.14
=====================  ==============  ==============  ==============
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
