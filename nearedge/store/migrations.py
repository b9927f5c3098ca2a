"""From one schema version to the next, one document at a time.

Each step takes a document of version n and returns it in version n + 1. A document is replaced in
one write, so a migration that was interrupted is continued by starting it again, and the identity
says the new version only when every document has it.
"""

from __future__ import annotations

from collections.abc import Callable

from pymatgen.core.composition import Composition

from nearedge.errors import SchemaError
from nearedge.schemas.calculation import COMPLETED, Parameter, parameters_id
from nearedge.schemas.document import SCHEMA_VERSION
from nearedge.store.identity import IDENTITY_COLLECTION, IDENTITY_ID, read_identity
from nearedge.store.operations import Document, MongoDatabase, operation

Step = Callable[[Document], Document]


@operation
def migrate(database: MongoDatabase) -> dict[str, int]:
    """Bring every document to this release's schema version.

    Returns
    -------
    dict[str, int]
        How many documents were rewritten, by collection; empty if the database was up to date.

    Raises
    ------
    SchemaError
        If the database is newer than this release, or a document cannot be converted.
    """
    identity = read_identity(database)
    if identity is None or identity.schema_version == SCHEMA_VERSION:
        return {}
    if identity.schema_version > SCHEMA_VERSION:
        raise SchemaError(
            f"Database {database.name!r} has schema version {identity.schema_version} and this "
            f"NearEdge knows {SCHEMA_VERSION}: install a newer NearEdge."
        )
    counts = {name: _migrate_collection(database, name) for name in STEPS}
    database[IDENTITY_COLLECTION].update_one(
        {"_id": IDENTITY_ID}, {"$set": {"schema_version": SCHEMA_VERSION}}
    )
    return counts


def _migrate_collection(database: MongoDatabase, name: str) -> int:
    collection = database[name]
    # None also matches documents without the field: version 0 did not write it.
    older = {"schema_version": {"$in": [None, *range(SCHEMA_VERSION)]}}
    identifiers = [found["_id"] for found in collection.find(older, {"_id": 1})]
    for identifier in identifiers:
        found = collection.find_one({"_id": identifier})
        if found is not None:
            collection.replace_one({"_id": identifier, **older}, _to_current(name, found))
    return len(identifiers)


def _to_current(name: str, document: Document) -> Document:
    version = int(document.get("schema_version") or 0)
    try:
        for step in STEPS[name][version:]:
            document = step(document)
    except (KeyError, TypeError, ValueError) as error:
        raise SchemaError(
            f"The {name} document {document.get('_id')!r} of schema version {version} cannot be "
            f"migrated ({type(error).__name__}: {error}): remove it, or restore it from a backup."
        ) from error
    return document


def _structure_0_to_1(old: Document) -> Document:
    """Version 0 named the file only, and knew no elements."""
    sites = old["structure"]["sites"]
    return {
        "_id": old["_id"],
        "schema_version": 1,
        "created_at": old["created"],
        "structure_id": old["structure_id"],
        "formula": old["formula"],
        "elements": _elements(old["formula"]),
        "chemsys": "-".join(_elements(old["formula"])),
        "nsites": len(sites),
        "structure": old["structure"],
        "source": {"kind": "file", "label": old["file"], "citation": None},
    }


def _calculation_0_to_1(old: Document) -> Document:
    """Version 0 had plain parameters with a table of units, one project, and a bare error text."""
    parameters = {
        name: {"value": value, "unit": old["units"].get(name)}
        for name, value in old["parameters"].items()
    }
    failed = old["error"] is not None
    return {
        **_what_0_to_1(old),
        "absorbing_index": old["site"],
        "parameters_id": _parameters_id(old),
        "parameters": parameters,
        "state": old["error"]["name"] if failed else COMPLETED,
        "failure": {"log_tail": "", **old["error"]} if failed else None,
        "inputs": [[name, text] for name, text in old["files"]],
        "results": {},
        "warnings": [],
        "attempts": 1,
        "wall_seconds": old["seconds"],
        "cpu_seconds": None,
        "host": old["host"],
        "run_dir": None,
        "parents": [],
        "origin": "run",
    }


def _spectrum_0_to_1(old: Document) -> Document:
    """Version 0 called its arrays energies and mu, and kept the edge beside them."""
    site = old["type"] == "site"
    return {
        **_what_0_to_1(old),
        "kind": old["type"],
        "parameters_id": _parameters_id(old),
        "absorbing_index": old["site"] if site else None,
        "multiplicity": old["multiplicity"] if site else None,
        "contributions": [
            {
                "calculation_id": part["calculation"],
                "absorbing_index": part["site"],
                "multiplicity": part["multiplicity"],
                "weight": part["weight"],
                "state": COMPLETED,
            }
            for part in old.get("parts", ())
        ],
        "covered": 1.0,
        "state": COMPLETED,
        "calculation_ids": [old["calculation"]]
        if site
        else [part["calculation"] for part in old["parts"]],
        "energy": old["energies"],
        "absorption": old["mu"],
        "unit": "normalized",
        "normalization": old["edge_step"],
        "energy_reference": {
            "kind": "absolute",
            "edge_energy": old["edge_energy"],
            "fermi_energy": None,
        },
        "broadening": [],
        "warnings": [],
    }


def _what_0_to_1(old: Document) -> Document:
    """Return the fields that calculations and spectra share."""
    return {
        "_id": old["_id"],
        "schema_version": 1,
        "created_at": old["created"],
        "structure_key": old["structure"],
        "structure_id": old["structure_id"],
        "formula": old["formula"],
        "elements": _elements(old["formula"]),
        "chemsys": "-".join(_elements(old["formula"])),
        "absorber": old["element"],
        "edge": old["edge"],
        "code": old["code"],
        "code_version": old["version"],
        "protocol": f"{old['protocol']}@1",
        "projects": [old["project"]] if old.get("project") else [],
    }


def _parameters_id(old: Document) -> str:
    parameters = {
        name: Parameter(value=value, unit=old["units"].get(name))
        for name, value in old["parameters"].items()
    }
    return parameters_id(old["code"], old["version"], parameters)


def _elements(formula: str) -> list[str]:
    return sorted(element.symbol for element in Composition(formula).elements)


STEPS: dict[str, tuple[Step, ...]] = {
    "structures": (_structure_0_to_1,),
    "calculations": (_calculation_0_to_1,),
    "spectra": (_spectrum_0_to_1,),
}
"""Collection to its steps; the step at position n goes from version n to n + 1."""
