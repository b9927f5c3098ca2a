"""Write ``v0_dump.json``: a small database in the layout that the prototype wrote (version 0).

Version 0 is never written again; this script documents it and makes the dump reproducible.
Run: ``python tests/recorded/store/make_v0_dump.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bson import json_util
from pymatgen.core import Lattice, Structure

CREATED = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
PARAMETERS = {"SCF": 3.2, "FMS": 4.0, "EXCHANGE": "Hedin-Lundqvist"}
UNITS = {"SCF": "Å", "FMS": "Å"}


def main() -> None:
    """Write the dump beside this file."""
    halite = Structure(Lattice.cubic(4.177), ["Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    shared = {
        "created": CREATED,
        "structure": "key-of-tio",
        "structure_id": "id-of-tio",
        "formula": "TiO",
        "element": "Ti",
        "edge": "K",
        "code": "feff",
        "version": "0.2.4",
        "protocol": "fast",
        "parameters": PARAMETERS,
        "units": UNITS,
        "project": "prototype",
    }
    run = {
        **shared,
        "files": [["feff.inp", "TITLE TiO\nEDGE K\n"]],
        "seconds": 17.5,
        "host": "node",
    }
    curve = {
        "energies": [4961.0, 4966.0, 4971.0, 4976.0],
        "mu": [0.02, 0.41, 1.25, 0.97],
        "edge_energy": 4966.4,
        "edge_step": 0.0000151,
    }
    failure = {"name": "scf_not_converged", "message": "SCF did not converge in 30 steps."}
    part = {"calculation": "calc-0", "site": 0, "multiplicity": 1, "weight": 1.0}
    dump = {
        "identity": [
            {"_id": "nearedge", "instance": "prototype", "schema_version": 0, "created_at": CREATED}
        ],
        "structures": [
            {
                "_id": "key-of-tio",
                "created": CREATED,
                "structure_id": "id-of-tio",
                "formula": "TiO",
                "file": "TiO.cif",
                "structure": halite.as_dict(),
            }
        ],
        "calculations": [
            {"_id": "calc-0", **run, "site": 0, "error": None},
            {"_id": "calc-1", **run, "site": 1, "error": failure, "project": None},
        ],
        "spectra": [
            {"_id": "site-0", **shared, **curve, "type": "site", "site": 0, "multiplicity": 1,
             "calculation": "calc-0"},
            {"_id": "average-0", **shared, **curve, "type": "average", "parts": [part]},
        ],
    }  # fmt: skip
    text = json_util.dumps(dump, indent=1, json_options=json_util.RELAXED_JSON_OPTIONS)
    Path(__file__).with_name("v0_dump.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
