"""Finding spectra and taking them out, with a store in memory."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from nearedge.schemas import SpectrumDoc
from nearedge.store.queries import SpectrumQuery
from nearedge.store.spectra_store import SpectraStore

from .conftest import Command, fill


@pytest.fixture(autouse=True)
def _filled(store: SpectraStore) -> None:
    fill(store)


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ((), 4),
        (("--kind", "average"), 2),
        (("--formula", "O2Ti", "--absorber", "Ti", "--edge", "K"), 4),
        (("--elements", "Ti"), 4),
        (("--elements", "Ti,O", "--chemsys", "O-Ti"), 4),
        (("--chemsys", "Cu-O"), 0),
        (("--protocol", "fast"), 4),
        (("--protocol", "precise"), 0),
        (("--project", "oxides", "--code", "feff"), 4),
        (("--project", "others"), 0),
        (("--limit", "1"), 1),
        (("--skip", "3"), 1),
    ],
)
def test_filters_find_what_they_say(
    nearedge: Command, filters: tuple[str, ...], count: int
) -> None:
    said = nearedge("query", *filters, "--json")
    assert said.code == 0
    assert len(said.json) == count


def test_json_rows_carry_no_arrays_and_identify_their_spectrum(nearedge: Command) -> None:
    row = nearedge("query", "--kind", "site", "--json").json[0]
    assert row["formula"] == "TiO2"
    assert row["absorbing_index"] == 0
    assert row["edge_energy"] == pytest.approx(4968.2, abs=0.5)
    assert not {"energy", "absorption"} & set(row)


def test_csv_and_json_say_the_same(nearedge: Command) -> None:
    rows = list(csv.DictReader(io.StringIO(nearedge("query", "--csv").out)))
    listed = nearedge("query", "--json").json
    assert [row["spectrum_id"] for row in rows] == [row["spectrum_id"] for row in listed]
    assert nearedge("query", "--formula", "CuO", "--csv").out.startswith("spectrum_id,")


def test_a_table_in_a_pipe_is_not_cut(nearedge: Command) -> None:
    said = nearedge("query")
    for row in nearedge("query", "--json").json:
        assert row["spectrum_id"][:12] in said.out
        assert row["projects"][0] in said.out
    assert max(map(len, said.out.splitlines())) <= 100
    assert said.out.endswith("4 of 4 spectra.\n")


def test_a_table_says_that_more_fit_and_count_how_many(nearedge: Command) -> None:
    said = nearedge("query", "--limit", "3")
    assert "3 spectra, and more fit: --limit and --skip show others" in said.out
    assert nearedge("query", "--limit", "3", "--skip", "1").out.endswith("3 of 4 spectra.\n")
    assert nearedge("query", "--skip", "9").out == "No more than 9 spectra fit.\n"
    assert nearedge("query", "--count").out == "4 spectra.\n"
    assert nearedge("query", "--count", "--kind", "average", "--json").json == {"spectra": 2}
    assert nearedge("query", "--count", "--limit", "3").code == 2


def test_what_fits_a_page_is_shown_by_formula(nearedge: Command, store: SpectraStore) -> None:
    # A key before those of the crystals that are there already: what begins with a digit is first.
    for number, formula in enumerate(("VO2", "AlO2")):
        for row in list(store.database["spectra"].find({"formula": "TiO2"}))[:1]:
            row |= {"_id": f"id-{number}", "formula": formula, "structure_key": f"{number:032x}"}
            store.database["spectra"].insert_one(row)
    shown = [row["formula"] for row in nearedge("query", "--json").json]
    assert shown == sorted(shown)
    assert {"AlO2", "TiO2", "VO2"} == set(shown)
    listed = [row["formula"] for row in nearedge("query", "--json", "--limit", "2").json]
    assert listed == ["VO2", "AlO2"]


def test_calculations_include_failed_ones_with_their_reason(nearedge: Command) -> None:
    rows = nearedge("query", "--calculations", "--json").json
    assert {row["state"] for row in rows} == {"completed", "scf_not_converged"}
    (failed,) = nearedge("query", "--calculations", "--absorber", "Cu", "--json").json
    assert failed["failure"]["message"].startswith("100 iterations")
    assert "inputs" not in failed
    assert "scf_not_converged" in nearedge("query", "--calculations").out


@pytest.mark.parametrize(
    "filters",
    [
        ("--absorber", "Xx"),
        ("--edge", "P9"),
        ("--formula", "not a formula"),
        ("--code", "$where"),
        ("--structure-id", "$ne"),
        ("--state", "$exists"),
        ("--protocol", "$gt"),
        ("--chemsys", "Ti-Qq"),
        ("--elements", "Ti,$or"),
    ],
)
def test_what_is_no_value_to_look_for_is_refused(
    nearedge: Command, filters: tuple[str, ...]
) -> None:
    for verb in (("query", "--json"), ("plot",), ("export", "--output", "nowhere")):
        said = nearedge(*verb, *filters)
        assert (said.code, said.out) == (1, "")
        assert filters[1].split(",")[-1].split("-")[-1] in said.err


@pytest.mark.parametrize("options", [(), ("--relative",), ("--align",), ("--residuals",)])
@pytest.mark.parametrize("suffix", ["html", "png"])
def test_plots_are_drawn(
    nearedge: Command, tmp_path: Path, options: tuple[str, ...], suffix: str
) -> None:
    target = tmp_path / f"spectra.{suffix}"
    said = nearedge("plot", "--absorber", "Ti", *options, "--output", target, "--json")
    assert said.code == 0, said.err
    assert said.json == {"output": str(target), "figures": 1, "curves": 2}
    assert target.read_bytes()[:4] in (b"<!do", b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir() if "spectra" in path.name] == [target.name]


def test_an_aligned_plot_prints_the_shift(nearedge: Command, tmp_path: Path) -> None:
    target = tmp_path / "aligned.html"
    assert nearedge("plot", "--kind", "average", "--align", "--output", target).code == 0
    page = target.read_text().rpartition("<main>")[2]
    assert "0.40 eV)" in page


def test_spectra_can_be_plotted_by_their_ids(nearedge: Command, tmp_path: Path) -> None:
    ids = [row["spectrum_id"] for row in nearedge("query", "--kind", "site", "--json").json]
    for digits in (32, 12):  # whole, or as a table has them
        typed = [each[:digits] for each in ids]
        said = nearedge("plot", *typed, "--output", tmp_path / "two.png")
        assert (said.code, said.err) == (0, "")
        assert "2 curves in 1 figure." in said.out
    for typed in (ids[0][:4], "ffffffff", ""):
        said = nearedge("plot", typed, "--output", tmp_path / "no.png")
        assert (said.code, "nearedge query" in said.err) == (1, True)


def test_no_spectrum_is_an_error_and_leaves_no_file(nearedge: Command, tmp_path: Path) -> None:
    target = tmp_path / "none.html"
    said = nearedge("plot", "--absorber", "Cu", "--output", target)
    assert said.code == 1
    assert "No spectrum" in said.err
    assert not target.exists()


@pytest.mark.parametrize("file_format", ["csv", "json", "xasdoc"])
def test_exports_hold_every_spectrum(
    nearedge: Command, tmp_path: Path, store: SpectraStore, file_format: str
) -> None:
    target = tmp_path / f"out.{file_format}"
    said = nearedge("export", "--format", file_format, "--output", target, "--json")
    assert said.code == 0, said.err
    assert said.json["spectra"] == 4
    text = target.read_text()
    if file_format == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == 4 * 200
        assert len({row["spectrum_id"] for row in rows}) == 4
        spectrum = store.spectrum(rows[0]["spectrum_id"])
        assert spectrum is not None
        assert float(rows[0]["absorption"]) == spectrum.absorption[0]
    else:
        assert len(json.loads(text)) == 4


def test_a_json_export_is_read_back_as_the_same_documents(
    nearedge: Command, tmp_path: Path, store: SpectraStore
) -> None:
    target = tmp_path / "out.json"
    assert nearedge("export", "--format", "json", "--output", target).code == 0
    read = [SpectrumDoc.model_validate(each) for each in json.loads(target.read_text())]
    assert read == list(store.spectra(SpectrumQuery()))


def test_xdi_is_a_folder_with_a_file_a_spectrum(nearedge: Command, tmp_path: Path) -> None:
    target = tmp_path / "xdi"
    assert nearedge("export", "--format", "xdi", "--output", target).code == 0
    files = sorted(target.iterdir())
    assert len(files) == 4
    assert all(file.read_text().startswith("# XDI/1.0") for file in files)
    assert any("average" in file.name for file in files)


def test_an_export_that_cannot_be_written_says_so_and_leaves_nothing(
    nearedge: Command, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("kept")
    for file_format, place in (("csv", "missing/x.csv"), ("json", "."), ("xdi", "file")):
        said = nearedge("export", "--format", file_format, "--output", tmp_path / place)
        assert said.code == 1
        assert said.err.startswith("Error: ")
    assert (tmp_path / "file").read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "home") == ["file"]


def test_leaving_out_everything_is_an_error_and_leaves_no_file(
    nearedge: Command, tmp_path: Path
) -> None:
    said = nearedge("export", "--skip", "4", "--format", "csv", "--output", tmp_path / "x.csv")
    assert said.code == 1
    assert "--skip 4 leaves out all" in said.err
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("option", ["--align", "--residuals"])
def test_an_option_that_would_have_no_effect_is_refused(
    nearedge: Command, tmp_path: Path, option: str
) -> None:
    target = tmp_path / "x.html"
    said = nearedge("plot", "--relative", option, "--output", target)
    assert said.code == 2
    assert "choose one" in said.err
    assert not target.exists()


def exported(nearedge: Command, target: Path, *options: object) -> list[SpectrumDoc]:
    said = nearedge("export", "--format", "json", "--output", target, *options)
    assert said.code == 0, said.err
    return [SpectrumDoc.model_validate(each) for each in json.loads(target.read_text())]


def test_a_broadened_export_says_what_was_added_and_the_stored_spectra_stay(
    nearedge: Command, tmp_path: Path
) -> None:
    before = exported(nearedge, tmp_path / "before.json")
    after = exported(nearedge, tmp_path / "after.json", "--broaden", "voigt:0.9,0.5")
    for plain, broad in zip(before, after, strict=True):
        assert [each.kind for each in broad.broadening] == ["lorentzian", "gaussian"]
        assert max(broad.absorption) < max(plain.absorption)
        assert broad.spectrum_id != plain.spectrum_id
    assert exported(nearedge, tmp_path / "again.json") == before


def test_a_broadened_plot_is_lower_than_the_plain_one(nearedge: Command, tmp_path: Path) -> None:
    target = tmp_path / "spectra.html"
    said = nearedge("plot", "--broaden", "core-hole", "--output", target)
    assert said.code == 0, said.err
    assert "broadened by core-hole" in target.read_text()[:2000]


@pytest.mark.parametrize("verb", ["plot", "export"])
@pytest.mark.parametrize(
    ("spec", "reason"), [("box:1", "is no broadening"), ("core-hole", "would broaden it twice")]
)
def test_a_broadening_that_makes_no_sense_is_refused_and_leaves_no_file(
    nearedge: Command, store: SpectraStore, tmp_path: Path, verb: str, spec: str, reason: str
) -> None:
    contained = {"kind": "lorentzian", "width": 0.9, "origin": "the code's"}
    store.database["spectra"].update_many({}, {"$set": {"broadening": [contained]}})
    target = tmp_path / "spectra.html"
    said = nearedge(verb, "--broaden", spec, "--output", target)
    assert said.code == 1
    assert reason in said.err
    assert list(tmp_path.glob("spectra*")) == []
