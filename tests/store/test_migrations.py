"""A database of an older release is brought to this one's schema, whatever interrupts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from bson import json_util

from nearedge.errors import SchemaError
from nearedge.schemas.document import SCHEMA_VERSION
from nearedge.schemas.spectrum import SpectrumKind
from nearedge.store import migrations
from nearedge.store.identity import check_identity
from nearedge.store.migrations import migrate
from nearedge.store.operations import Document, MongoDatabase
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore

DUMP = Path(__file__).parent.parent / "recorded" / "store" / "v0_dump.json"


@pytest.fixture
def old_database(memory_database: MongoDatabase) -> MongoDatabase:
    for collection, documents in json_util.loads(DUMP.read_text()).items():
        memory_database[collection].insert_many(documents)
    return memory_database


def test_a_database_of_version_0_is_read_after_its_migration(old_database: MongoDatabase) -> None:
    store = SpectraStore(old_database)
    with pytest.raises(SchemaError, match="nearedge up"):
        check_identity(old_database)
    with pytest.raises(SchemaError, match="nearedge up"):
        store.spectrum("site-0")

    assert migrate(old_database) == {"structures": 1, "calculations": 2, "spectra": 2}

    assert check_identity(old_database).schema_version == SCHEMA_VERSION
    site = store.spectrum("site-0")
    assert site is not None
    assert site.energy == [4961.0, 4966.0, 4971.0, 4976.0]
    assert site.absorption == [0.02, 0.41, 1.25, 0.97]
    assert site.energy_reference.edge_energy == 4966.4
    assert site.projects == ["prototype"]
    [average] = store.spectra(SpectrumQuery(kind=SpectrumKind.AVERAGE, chemsys="O-Ti"))
    assert [part.calculation_id for part in average.contributions] == ["calc-0"]
    done = store.calculation("calc-0")
    assert done is not None
    assert done.parameters["SCF"].value == 3.2
    assert done.parameters["SCF"].unit == "Å"
    assert done.inputs == {"feff.inp": "TITLE TiO\nEDGE K\n"}
    assert done.parameters_id == site.parameters_id
    [failed] = store.calculations(CalculationQuery(failed=True))
    assert failed.failure is not None
    assert failed.failure.name == failed.state == "scf_not_converged"
    structure = store.structure("key-of-tio")
    assert structure is not None
    assert structure.to_structure().composition.reduced_formula == "TiO"


def test_migrating_again_changes_nothing(old_database: MongoDatabase) -> None:
    migrate(old_database)
    before = list(old_database["spectra"].find({}))
    assert migrate(old_database) == {}
    assert list(old_database["spectra"].find({})) == before


def test_a_migration_that_was_interrupted_is_continued(
    old_database: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = migrations.STEPS["calculations"][0]

    def killed_at_the_second(old: Document) -> Document:
        if old["_id"] == "calc-1":
            raise KeyboardInterrupt
        return step(old)

    monkeypatch.setitem(migrations.STEPS, "calculations", (killed_at_the_second,))
    with pytest.raises(KeyboardInterrupt):
        migrate(old_database)
    with pytest.raises(SchemaError):
        check_identity(old_database)
    monkeypatch.undo()

    assert migrate(old_database) == {"structures": 0, "calculations": 1, "spectra": 2}
    assert len(list(SpectraStore(old_database).calculations(CalculationQuery()))) == 2


def test_a_document_that_cannot_be_migrated_is_named(old_database: MongoDatabase) -> None:
    old_database["spectra"].update_one({"_id": "site-0"}, {"$unset": {"mu": ""}})
    with pytest.raises(SchemaError, match=r"'site-0'.*mu"):
        migrate(old_database)


def test_a_newer_database_is_refused(old_database: MongoDatabase) -> None:
    old_database["identity"].update_one({}, {"$set": {"schema_version": SCHEMA_VERSION + 1}})
    with pytest.raises(SchemaError, match="newer NearEdge"):
        migrate(old_database)
    with pytest.raises(SchemaError, match="newer NearEdge"):
        check_identity(old_database)


def test_every_collection_has_a_step_for_every_version() -> None:
    assert {len(steps) for steps in migrations.STEPS.values()} == {SCHEMA_VERSION}
