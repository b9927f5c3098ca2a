from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nearedge.codes.finished import members as members_module
from nearedge.codes.finished.members import BadMember, Member, iter_members
from nearedge.errors import IngestError

WANTED = frozenset({"feff.inp"})


def tar(path: Path, mode: str, *entries: tuple[str, bytes]) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tar_of(path: Path, change: Callable[[tarfile.TarInfo], None]) -> Path:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a/feff.inp")
        change(info)
        archive.addfile(info, io.BytesIO(b"x" * info.size))
        ok = tarfile.TarInfo("b/feff.inp")
        ok.size = 1
        archive.addfile(ok, io.BytesIO(b"y"))
    return path


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        (".tar", "w"),
        (".tar.gz", "w:gz"),
        (".tgz", "w:gz"),
        (".tar.bz2", "w:bz2"),
        (".tar.xz", "w:xz"),
    ],
)
def test_archives_are_read_by_content(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tar(tmp_path / f"a{suffix}", mode, ("m/feff.inp", b"deck"), ("m/other", b"no"))
    found = list(iter_members(path, WANTED))
    assert [(str(m.path), m.content) for m in found if isinstance(m, Member)] == [
        ("m/feff.inp", b"deck")
    ]
    assert len(found) == 1


def test_a_zip_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/feff.inp", b"deck")
        archive.writestr("../feff.inp", b"out")
        link = zipfile.ZipInfo("l/feff.inp")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    good, out, linked = iter_members(tmp_path / "a.zip", WANTED)
    assert isinstance(good, Member)
    assert isinstance(out, BadMember)
    assert "out of the archive" in out.reason
    assert isinstance(linked, BadMember)
    assert "link" in linked.reason


def _set(**fields: object) -> Callable[[tarfile.TarInfo], None]:
    return lambda info: [setattr(info, name, value) for name, value in fields.items()] and None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_set(name="/etc/feff.inp"), "out of the archive"),
        (_set(name="a/../../feff.inp"), "out of the archive"),
        (_set(type=tarfile.SYMTYPE, linkname="/etc/passwd"), "link or device"),
        (_set(type=tarfile.LNKTYPE, linkname="b/feff.inp"), "link or device"),
        (_set(type=tarfile.FIFOTYPE), "link or device"),
        (_set(size=members_module.MAX_FILE_BYTES + 1), "larger than"),
    ],
)
def test_a_hostile_member_is_refused_and_the_rest_is_read(tmp_path: Path, change, reason) -> None:
    bad, good = iter_members(tar_of(tmp_path / "a.tar", change), WANTED)
    assert isinstance(bad, BadMember)
    assert reason in bad.reason
    assert isinstance(good, Member)
    assert good.content == b"y"


def test_nothing_is_written_to_disk(tmp_path: Path, monkeypatch) -> None:
    path = tar(tmp_path / "a.tar.xz", "w:xz", ("m/feff.inp", b"deck"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    list(iter_members(path, WANTED))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.tar.xz", "here"]


@pytest.mark.parametrize(
    ("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz"), (".tar.xz", "w:xz")]
)
def test_a_cut_archive_gives_what_came_before_and_says_so(tmp_path: Path, suffix, mode) -> None:
    noise = bytes((i * i * 7919) >> 5 & 255 for i in range(40_000))
    path = tar(tmp_path / f"a{suffix}", mode, *((f"{i}/feff.inp", noise) for i in range(8)))
    whole = path.read_bytes()
    for kept in (0.9, 0.5):
        path.write_bytes(whole[: int(len(whole) * kept)])
        *before, last = iter_members(path, WANTED)
        assert isinstance(last, BadMember)
        assert "damaged or cut short" in last.reason
        assert all(isinstance(member, Member) and member.content == noise for member in before)


def test_a_bomb_is_defused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(members_module, "_FREE_EXPANSION", 1024**2)
    path = tar(tmp_path / "a.tar.xz", "w:xz", ("zeros", bytes(40 * 1024**2)), ("feff.inp", b"x"))
    (only,) = iter_members(path, WANTED)
    assert isinstance(only, BadMember)
    assert "than any real archive" in only.reason


def test_what_is_no_archive_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    for name, said in [("a.txt", "no archive"), ("missing", "does not exist")]:
        with pytest.raises(IngestError, match=said):
            list(iter_members(tmp_path / name, WANTED))


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "a" / "feff.inp").symlink_to(tmp_path / "secret")
    (only,) = iter_members(tmp_path, WANTED)
    assert isinstance(only, BadMember)
    assert "link" in only.reason


def test_the_share_read_grows_to_one(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", "w", *((f"{i}/feff.inp", b"x" * 9000) for i in range(400)))
    shares: list[float] = []
    list(iter_members(path, WANTED, shares.append))
    assert shares == sorted(shares)
    assert 0 < shares[0] <= shares[-1] <= 1


def test_a_header_that_is_a_bomb_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members_module, "MAX_HEADER_BYTES", 2000)
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, comment in (("a/feff.inp", "short"), ("b/feff.inp", "x" * 4000)):
            info = tarfile.TarInfo(name)
            info.pax_headers = {"comment": comment}
            archive.addfile(info)
    first, second = iter_members(path, WANTED)
    assert isinstance(first, Member)
    assert isinstance(second, BadMember)
    assert "longer than any real one" in second.reason


def test_names_that_are_no_text_are_given_as_text(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", "w", ("m\udcff\x1b[2J/feff.inp", b"deck"))
    (member,) = iter_members(path, WANTED)
    assert isinstance(member, Member)
    assert str(member.path) == "m\ufffd\ufffd[2J/feff.inp"


def test_an_empty_archive_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "runs.tar.xz").touch()
    with pytest.raises(IngestError, match="empty"):
        list(iter_members(tmp_path / "runs.tar.xz", frozenset({"feff.inp"})))
