"""Structures from pymatgen's serialisation, as others may have written it.

pymatgen decodes site properties by importing the module and building the class that they name.
Nothing that came from a file or a database may do that.
"""

from __future__ import annotations

from collections.abc import Mapping

from pymatgen.core import Structure


def stored_structure(content: object) -> Structure:
    """Return the crystal of a `Structure.as_dict`: lattice, species and positions.

    Site properties, which no spectrum here depends on, are left out unread.

    Raises
    ------
    ValueError
        If it is no such thing. What pymatgen raises on damaged numbers is raised on.
    """
    if not isinstance(content, Mapping):
        raise ValueError("it is no structure")
    sites = content.get("sites")
    if not isinstance(sites, list) or not all(isinstance(site, Mapping) for site in sites):
        raise ValueError("it has no list of sites")
    kept = ("species", "abc", "label")
    structure: Structure = Structure.from_dict(
        {
            "lattice": content.get("lattice"),
            "charge": content.get("charge"),
            "sites": [{key: site[key] for key in kept if key in site} for site in sites],
        }
    )
    return structure
