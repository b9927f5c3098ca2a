"""Under which licences the pretrained weights behind features are."""

from __future__ import annotations

from types import MappingProxyType

LICENCES = MappingProxyType(
    {
        "m3gnet": "BSD-3-Clause, Materials Virtual Lab (M3GNet-MP-2021.2.8-PES)",
        "chgnet": "BSD-3-Clause-LBNL, The Regents of the University of California (CHGNet)",
    }
)
"""As the weights' own folder and package state them. SOAP and ACSF are formulas without weights."""


def licences_of(featurizer: str) -> dict[str, str]:
    """Return the licence of each set of weights that a featurizer's specification names.

    Parameters
    ----------
    featurizer
        Such as ``m3gnet:1,2,3+soap:4``.
    """
    families = [part.partition(":")[0].strip() for part in featurizer.split("+")]
    return {name: LICENCES[name] for name in dict.fromkeys(families) if name in LICENCES}
