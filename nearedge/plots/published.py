"""Scores that others published, to stand beside ours."""

from __future__ import annotations

from types import MappingProxyType

PUBLISHED_ETA = MappingProxyType(
    {
        ("Ti", "feff"): (6.35, 4.19, 7.63),
        ("V", "feff"): (7.30, 5.19, 9.22),
        ("Cr", "feff"): (8.54, 7.13, 10.44),
        ("Mn", "feff"): (17.66, 13.15, 29.81),
        ("Fe", "feff"): (7.51, 6.04, 8.98),
        ("Co", "feff"): (14.47, 9.58, 19.83),
        ("Ni", "feff"): (8.45, 6.43, 11.21),
        ("Cu", "feff"): (5.19, 2.75, 4.81),
        ("Ti", "vasp"): (4.75, None, 5.27),
        ("Cu", "vasp"): (8.46, None, 9.21),
    }
)
"""Eta of OmniXAS (arXiv:2409.19552) by element and code, on its authors' test spectra: a network of
one element, one of all elements, and that one fine-tuned to the element."""

PUBLISHED_KINDS = ("one element", "all elements", "all, then fine-tuned")
