"""What is kept in the cache is whole, whoever puts it there and whatever happens to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nearedge.codes.execution.shelf import MANIFEST, Kept, draft, kept, put
from nearedge.errors import ResourceError

FILES = {"a.upf": b"potential", "b.wfc": b"\x00waves"}


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "key"


def test_what_is_put_there_is_found_with_its_notes(shelf: Path) -> None:
    assert kept(shelf) is None
    put(shelf, FILES, {"cutoff": 40.0})
    assert kept(shelf) == Kept(FILES, {"cutoff": 40.0})
    assert [path.name for path in shelf.parent.iterdir()] == ["key"]


@pytest.mark.parametrize("damage", ["a.upf", MANIFEST])
def test_what_is_damaged_is_not_used_and_can_be_put_there_again(shelf: Path, damage: str) -> None:
    put(shelf, FILES, {})
    content = (shelf / damage).read_bytes()
    for broken in (content[:-3], b"[]", None):
        (shelf / damage).unlink() if broken is None else (shelf / damage).write_bytes(broken)
        assert kept(shelf) is None
        put(shelf, FILES, {})
        assert kept(shelf) == Kept(FILES, {})
    assert [path.name for path in shelf.parent.iterdir()] == ["key"]


def test_the_first_that_is_done_has_the_shelf(shelf: Path) -> None:
    put(shelf, FILES, {"by": 1})
    put(shelf, {"a.upf": b"another"}, {"by": 2})
    assert kept(shelf) == Kept(FILES, {"by": 1})


def test_a_draft_leaves_nothing_also_where_the_work_fails(shelf: Path) -> None:
    def work() -> None:
        with draft(shelf) as folder:
            (folder / "half").write_text("half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        work()
    assert list(shelf.parent.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ResourceError):
        put(tmp_path / "cache" / "key", FILES, {})
