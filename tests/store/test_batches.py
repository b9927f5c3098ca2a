"""Whatever is asked for or stored at once, the server is asked for a hundred at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from nearedge.schemas.spectrum import SpectrumDoc
from nearedge.store.batches import batches
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import SpectrumQuery
from nearedge.store.recording import Recorder
from nearedge.store.records import Record
from nearedge.store.relaxations import RelaxationStore
from nearedge.store.spectra_store import SpectraStore


def test_all_come_in_their_order() -> None:
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches([])) == []


def test_averages_are_stored_a_hundred_at_a_time(
    memory_database: MongoDatabase,
    make_record: Callable[..., Record],
    make_average: Callable[..., SpectrumDoc],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put, sizes = Recorder.put_averages, list[int]()

    def count(self: Recorder, averages: Sequence[SpectrumDoc]) -> None:
        sizes.append(len(averages))
        put(self, averages)

    monkeypatch.setattr(Recorder, "put_averages", count)
    one = make_average(make_record())
    many = [one.model_copy(update={"spectrum_id": f"{number:064}"}) for number in range(120)]
    store = SpectraStore(memory_database)
    store.put_averages(many)
    assert sizes == [100, 20]
    assert store.count(SpectrumQuery(kind="average")) == 120


def test_relaxations_are_asked_for_and_filed_a_hundred_at_a_time(
    memory_database: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RelaxationStore(memory_database)
    sizes: list[int] = []
    for name in ("find", "update_many"):
        method = getattr(store._documents, name)

        def asked(condition: Any, *more: Any, method: Any = method) -> Any:
            sizes.append(len(condition["_id"]["$in"]))
            return method(condition, *more)

        monkeypatch.setattr(store._documents, name, asked)
    ids = [str(number) for number in range(230)]
    assert store.get_many(ids) == {}
    store.add_project(ids, "p")
    assert sizes == [100, 100, 30] * 2
