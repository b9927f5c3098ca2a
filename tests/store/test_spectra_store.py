"""The store records once, whatever is repeated, and finds by what people know."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nearedge.errors import DatabaseError, SchemaError
from nearedge.schemas.calculation import COMPLETED
from nearedge.schemas.spectrum import SpectrumDoc, SpectrumKind, site_spectrum_id
from nearedge.schemas.structure import StructureDoc
from nearedge.store.blobs import CHUNKS
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.records import Record, RecordCounts
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.builtin import builtin_structures

MakeRecord = Callable[..., Record]
MakeAverage = Callable[..., SpectrumDoc]


@pytest.fixture
def store(memory_database: MongoDatabase) -> SpectraStore:
    return SpectraStore(memory_database)


def test_what_was_recorded_comes_back_unchanged(
    store: SpectraStore, make_record: MakeRecord
) -> None:
    record = make_record()
    assert store.record(*record)
    assert store.calculation(record.calculation.calculation_id) == record.calculation
    assert store.site_spectrum(record.calculation.calculation_id) == record.spectrum


def test_recording_again_adds_projects_and_nothing_else(
    store: SpectraStore, make_record: MakeRecord
) -> None:
    first = make_record(project="titania")
    store.record(*first)
    assert not store.record(*make_record(project="oxides"))
    assert not store.record(*make_record(project="oxides"))
    [calculation] = store.calculations(CalculationQuery())
    [spectrum] = store.spectra(SpectrumQuery())
    assert calculation.projects == spectrum.projects == ["titania", "oxides"]
    assert calculation.created_at == first.calculation.created_at


def test_many_records_count_what_is_new_and_what_is_known(
    store: SpectraStore, make_record: MakeRecord
) -> None:
    first = [make_record(i) for i in range(3)]
    assert store.record_many(first) == RecordCounts(new=3, known=0)
    more = [make_record(i) for i in range(5)]
    assert store.record_many([*more, more[0]]) == RecordCounts(new=2, known=4)
    assert store.count(SpectrumQuery()) == store.count(CalculationQuery()) == 5


def test_a_repeated_failure_is_nothing_new(store: SpectraStore, make_record: MakeRecord) -> None:
    assert store.record(*make_record(state="killed"))
    assert not store.record(*make_record(state="killed"))
    assert store.record(*make_record(state="scf_not_converged"))
    assert store.record(*make_record())


def test_a_failure_leaves_no_spectrum_and_gives_way_to_a_completion(
    store: SpectraStore, make_record: MakeRecord
) -> None:
    store.record(*make_record(state="scf_not_converged"))
    assert store.count(SpectrumQuery()) == 0
    [failed] = store.calculations(CalculationQuery(failed=True))
    assert failed.failure is not None
    assert failed.failure.name == failed.state == "scf_not_converged"

    assert store.record(*make_record())
    [completed] = store.calculations(CalculationQuery())
    assert (completed.state, completed.failure) == (COMPLETED, None)
    assert store.count(SpectrumQuery()) == 1


def test_a_late_failure_does_not_undo_a_completion(
    store: SpectraStore, make_record: MakeRecord
) -> None:
    store.record(*make_record())
    assert not store.record(*make_record(state="killed", project="late"))
    [calculation] = store.calculations(CalculationQuery())
    assert calculation.state == COMPLETED
    assert calculation.projects == ["titania", "late"]
    assert store.count(SpectrumQuery()) == 1


def test_a_spectrum_whose_writer_was_killed_is_completed_by_a_repetition(
    store: SpectraStore, make_record: MakeRecord
) -> None:
    record = make_record()
    store.record(*record)
    store.database["calculations"].delete_one({})
    assert store.completed([record.calculation.calculation_id]) == set()
    assert store.record(*record)
    assert store.count(SpectrumQuery()) == store.count(CalculationQuery()) == 1


def test_a_spectrum_whose_writer_was_killed_goes_when_the_repetition_fails(
    store: SpectraStore, make_record: MakeRecord
) -> None:
    store.record(*make_record())
    store.database["calculations"].delete_one({})
    store.record(*make_record(state="stage_timeout"))
    assert store.count(SpectrumQuery()) == 0


@pytest.mark.parametrize("broken", ["no spectrum", "spectrum of a failure", "another's spectrum"])
def test_documents_that_do_not_belong_together_are_refused(
    broken: str, store: SpectraStore, make_record: MakeRecord
) -> None:
    good, other = make_record(0), make_record(1)
    record = {
        "no spectrum": (good.calculation, None),
        "spectrum of a failure": (make_record(state="failed").calculation, good.spectrum),
        "another's spectrum": (good.calculation, other.spectrum),
    }[broken]
    with pytest.raises(DatabaseError):
        store.record(*record)
    assert store.count(CalculationQuery()) == store.count(SpectrumQuery()) == 0


def test_an_average_is_replaced_by_a_more_complete_one_only(
    store: SpectraStore, make_record: MakeRecord, make_average: MakeAverage
) -> None:
    one, two, failed = make_record(0), make_record(1), make_record(1, state="killed")
    incomplete, complete = make_average(one, failed), make_average(one, two)
    for average, covered in ((incomplete, 0.5), (complete, 1.0), (incomplete, 1.0)):
        store.put_average(average)
        [found] = store.spectra(SpectrumQuery(kind=SpectrumKind.AVERAGE))
        assert found.covered == covered
    assert found.state == "completed"
    assert found.absorption == complete.absorption
    assert [part.weight for part in found.contributions] == [0.5, 0.5]


def test_queries_find_by_what_people_know(store: SpectraStore, make_record: MakeRecord) -> None:
    store.record_many(
        [
            make_record(0),
            make_record(1),
            make_record(0, structure="cuprite", formula="Cu2O", elements=("Cu", "O"), absorber="Cu",
                        project="cuprates"),
            make_record(0, structure="mixed", formula="CuTiO3", elements=("Cu", "O", "Ti")),
        ]
    )  # fmt: skip

    def found(**conditions: object) -> int:
        rows = store.listing(SpectrumQuery(**conditions))
        assert store.count(SpectrumQuery(**conditions)) == len(rows)
        return len(rows)

    assert found() == 4
    assert found(absorber="Ti", edge="K", code="feff", protocol="fast@1", state="completed") == 3
    assert found(formula="O4Ti2") == 2
    assert found(elements=["Cu"]) == 2
    assert found(elements=["Cu", "O"]) == 2
    assert found(chemsys="O-Cu") == 1
    assert found(elements=["Ti"], chemsys="Cu-O") == 0
    assert found(project="cuprates") == 1
    assert found(structure_key="rutile") == 2
    assert found(structure_id="id of TiO2") == 2
    assert found(kind="average") == 0
    record = make_record(1)
    assert found(calculation_ids=[record.calculation.calculation_id]) == 1
    assert found(spectrum_ids=[site_spectrum_id(record.calculation.calculation_id), "none"]) == 1
    assert len(list(store.calculations(CalculationQuery(absorbing_index=0, absorber="Ti")))) == 2


def test_pages_of_a_listing_make_the_whole(store: SpectraStore, make_record: MakeRecord) -> None:
    store.record_many(
        [make_record(i, structure=key) for key in ("rutile", "anatase") for i in (2, 0, 1)]
    )
    rows = store.listing(SpectrumQuery())
    assert [(row.structure_key, row.absorbing_index) for row in rows] == [
        (key, i) for key in ("anatase", "rutile") for i in (0, 1, 2)
    ]
    pages = [store.listing(SpectrumQuery(), limit=4, skip=skip) for skip in (0, 4)]
    assert pages[0] + pages[1] == rows
    assert [s.spectrum_id for s in store.spectra(SpectrumQuery(), skip=2)] == [
        row.spectrum_id for row in rows[2:]
    ]


def test_large_fields_go_to_blobs_and_come_back_unseen(
    store: SpectraStore, make_record: MakeRecord
) -> None:
    record = make_record(points=20_000, inputs="ATOMS\n" * 2000)
    store.record(*record)
    stored = store.database["spectra"].find_one({}) or {}
    assert str(stored["energy"]).startswith("blob:")
    assert store.site_spectrum(record.calculation.calculation_id) == record.spectrum
    assert store.calculation(record.calculation.calculation_id) == record.calculation
    [listed] = store.calculations(CalculationQuery())
    assert listed.inputs["feff.inp"].startswith("blob:")
    assert store.orphans() == set()


def test_a_damaged_blob_is_an_error_not_a_wrong_number(
    store: SpectraStore, make_record: MakeRecord
) -> None:
    store.record(*make_record(points=20_000))
    store.database["blobs"].update_many({}, {"$set": {"data": b"x"}})
    store.database[CHUNKS].update_many({}, {"$set": {"data": b"x"}})
    with pytest.raises(DatabaseError, match="damaged"):
        list(store.spectra(SpectrumQuery()))


def test_documents_of_another_schema_are_refused_with_what_to_do(
    store: SpectraStore, make_record: MakeRecord
) -> None:
    record = make_record()
    store.record(*record)
    for version, advice in ((0, "nearedge up"), (99, "newer")):
        store.database["spectra"].update_one({}, {"$set": {"schema_version": version}})
        with pytest.raises(SchemaError, match=advice):
            store.site_spectrum(record.calculation.calculation_id)
        with pytest.raises(SchemaError, match=advice):
            store.listing(SpectrumQuery())


def test_structures_come_back_exactly(store: SpectraStore) -> None:
    loaded = builtin_structures()[0]
    structure = StructureDoc.from_structure(loaded.structure, loaded.source)
    store.put_structure(structure)
    store.put_structure(structure)
    found = store.structure(structure.structure_key)
    assert found is not None
    assert found.to_structure() == loaded.structure
    assert set(store.structures([structure.structure_key, "none"])) == {structure.structure_key}


def test_a_project_takes_calculations_with_their_averages(
    store: SpectraStore, make_record: MakeRecord, make_average: MakeAverage
) -> None:
    records = [make_record(0), make_record(1)]
    store.record_many(records)
    store.put_average(make_average(*records))
    store.add_project([records[0].calculation.calculation_id], "chosen")
    rows = store.listing(SpectrumQuery(project="chosen"))
    assert sorted(row.kind for row in rows) == ["average", "site"]
    assert store.count(CalculationQuery(project="chosen")) == 1
