from __future__ import annotations

import pytest

from nearedge.errors import DatabaseError
from nearedge.schemas.benchmark import BenchmarkColumn, BenchmarkDoc
from nearedge.store.benchmarks import BenchmarkStore
from nearedge.store.operations import MongoDatabase


def document(identifier: str, project: str = "p") -> BenchmarkDoc:
    return BenchmarkDoc(
        benchmark_id=identifier,
        absorber="Ti",
        edge="K",
        window=35.0,
        method="m",
        columns=[BenchmarkColumn(label="exp", kind="reference")],
        structures=[],
        means=[],
        projects=[project],
    )


def test_a_benchmark_is_found_by_its_id_or_the_first_digits(memory_database: MongoDatabase) -> None:
    store = BenchmarkStore(memory_database)
    store.put(document("abcdef" + 26 * "0"))
    store.put(document("abcdee" + 26 * "0"))
    assert store.get("abcdef").benchmark_id == "abcdef" + 26 * "0"
    assert store.get("abcdee" + 26 * "0").benchmark_id == "abcdee" + 26 * "0"
    for wanted in ("abcde", "ffffff"):
        with pytest.raises(DatabaseError, match=f"No benchmarks .* begins with '{wanted}'"):
            store.get(wanted)
    store.put(document("abcdeedd" + 24 * "0"))
    with pytest.raises(DatabaseError, match="Several benchmarks"):
        store.get("abcdee")


def test_storing_again_adds_the_project_and_keeps_the_first_date(
    memory_database: MongoDatabase,
) -> None:
    store = BenchmarkStore(memory_database)
    store.put(document("a" * 32))
    first = store.get("a" * 32)
    store.put(document("a" * 32, "other"))
    again = store.get("a" * 32)
    assert again.created_at == first.created_at
    assert sorted(again.projects) == ["other", "p"]
    assert len(store.listing()) == 1
    assert len(store.listing(project="other")) == 1
    assert store.listing(project="none") == []
