from __future__ import annotations

import os
from pathlib import Path

import pytest

from nearedge.cli.files import folder_written_whole, written_whole
from nearedge.errors import OutputError


def write_half_a_file(target: Path) -> None:
    with written_whole(target) as draft:
        draft.write_text("half")
        raise KeyboardInterrupt


def write_half_a_folder(target: Path) -> None:
    with folder_written_whole(target) as draft:
        (draft / "one").write_text("1")
        raise KeyboardInterrupt


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "spectra.json"
    target.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_half_a_file(target)
    assert target.read_text() == "before"
    assert names(tmp_path) == ["spectra.json"]

    with written_whole(target) as draft:
        draft.write_text("after")
        assert target.read_text() == "before"
    assert target.read_text() == "after"
    assert names(tmp_path) == ["spectra.json"]


def test_a_folder_gets_its_files_only_when_all_are_written(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "xdi"
    with pytest.raises(KeyboardInterrupt):
        write_half_a_folder(target)
    assert names(tmp_path) == []

    with folder_written_whole(target) as draft:
        (draft / "one").write_text("1")
    assert names(target) == ["one"]
    assert names(tmp_path / "deep") == ["xdi"] or names(tmp_path) == ["deep"]


@pytest.mark.parametrize("place", ["missing/file", "a_file/inside", "."])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "a_file").write_text("")
    with pytest.raises(OutputError, match=str(tmp_path)), written_whole(tmp_path / place):
        pass


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "a_file").write_text("kept")
    with pytest.raises(OutputError, match="a_file"), folder_written_whole(tmp_path / "a_file"):
        pass
    assert (tmp_path / "a_file").read_text() == "kept"


def test_a_device_gets_the_content_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with written_whole(pipe) as draft:
        draft.write_text("whole")
    assert os.read(reader, 100) == b"whole"
    os.close(reader)
    assert pipe.is_fifo()
    assert names(tmp_path) == ["pipe"]


def test_a_link_is_followed_and_stays_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link.csv", tmp_path / "folder" / "target.csv"
    link.symlink_to(target)
    with written_whole(link) as draft:
        draft.write_text("whole")
    assert link.is_symlink()
    assert target.read_text() == "whole"
