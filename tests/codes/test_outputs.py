"""A file reads the same whether it is compressed or not, and a damaged one is named."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from nearedge.codes import outputs
from nearedge.codes.outputs import (
    find_packed,
    output_text,
    packed_input,
    read_packed,
    text_if_there,
    unpacked_name,
)
from nearedge.errors import CodeError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
CONTENT = b"".join(b"%d energy\n" % number for number in range(2000))


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_file_is_found_and_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"OUTCAR{suffix}").write_bytes(PACKERS[suffix](CONTENT))
    path = find_packed(tmp_path, "OUTCAR")
    assert path is not None
    assert unpacked_name(path) == "OUTCAR"
    assert read_packed(path).encode() == CONTENT


def test_a_name_with_dots_keeps_them() -> None:
    assert unpacked_name(Path("a/absspct_Ti.0001_1s_01")) == "absspct_Ti.0001_1s_01"
    assert unpacked_name(Path("EPSILON_OC11.OUT.xz")) == "EPSILON_OC11.OUT"


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_a_cut_or_foreign_stream_is_truncated(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"OUTCAR{suffix}"
    content = PACKERS[suffix](CONTENT)
    for damaged in (content[: len(content) // 2], b"no such stream at all"):
        path.write_bytes(damaged)
        with pytest.raises(CodeError) as raised:
            read_packed(path)
        assert raised.value.name == "output_truncated"


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_BYTES", 1000)
    path = tmp_path / "OUTCAR.xz"
    path.write_bytes(lzma.compress(bytes(10_000_000)))
    with pytest.raises(CodeError, match="larger than"):
        read_packed(path)


def test_a_file_that_is_gone_is_missing(tmp_path: Path) -> None:
    assert find_packed(tmp_path, "OUTCAR") is None
    with pytest.raises(CodeError) as raised:
        read_packed(tmp_path / "OUTCAR")
    assert raised.value.name == "output_missing"


def test_a_text_is_there_is_not_or_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "scf.out"
    assert text_if_there(path) == ""
    for content, failure in ((None, "output_missing"), (" \n", "output_empty")):
        if content is not None:
            path.write_text(content)
        with pytest.raises(CodeError) as raised:
            output_text(path)
        assert raised.value.name == failure
    path.write_bytes(b"energy \xff")
    assert output_text(path) == text_if_there(path) == "energy �"


def test_an_input_that_was_not_kept_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(CodeError, match=r"no ocean\.in beside the spectra: add it") as raised:
        packed_input(tmp_path, "ocean.in")
    assert raised.value.name == "input_missing"
    (tmp_path / "ocean.in.gz").write_bytes(gzip.compress(b"nkpt { 2 2 2 }"))
    assert packed_input(tmp_path, "ocean.in") == "nkpt { 2 2 2 }"
