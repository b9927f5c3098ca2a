"""`nearedge benchmark`: what it refuses, compares, writes and takes back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from nearedge.codes.base import CodeResult
from nearedge.errors import CodeError
from nearedge.makers.average import average_sites
from nearedge.makers.documents import completed_record, failed_record
from nearedge.schemas import StructureDoc
from nearedge.schemas.spectrum import EnergyReference
from nearedge.spectra.spectrum import Spectrum
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.builtin import builtin_structure
from nearedge.workflows.spectrum import SpectrumFlowMaker, plan_sites, shares

from .conftest import Command

CODES = ("--absorber", "Ti", "--codes", "feff", "--protocol", "feff:fast,feff:balanced")


def edge(shift: float = 0.0, peak: float = 0.8) -> Spectrum:
    energy = np.linspace(4940, 5040, 700) + shift
    above = energy - shift - 4970
    absorption = 0.5 + np.arctan(above) / np.pi + peak * np.exp(-(((above - 9) / 3) ** 2))
    return Spectrum(energy, absorption - absorption[0])


def compute(store: SpectraStore, name: str, protocol: str, spectrum: Spectrum | None) -> None:
    """Record what a run would; without a spectrum, that it failed by name."""
    loaded = builtin_structure(name)
    document = StructureDoc.from_structure(loaded.structure, loaded.source)
    maker = SpectrumFlowMaker.for_code("feff", protocol=protocol).site_maker
    sites = plan_sites(maker, document, "Ti", "K")
    for site in sites:
        if spectrum is None:
            store.record(*failed_record(site, CodeError("stage_failed", "It stopped.")))
        else:
            result = CodeResult(spectrum, EnergyReference(kind="absolute"), [])
            store.record(*completed_record(site, result))
    average_sites(store, shares(sites))


@pytest.fixture
def structures(tmp_path: Path) -> list[Path]:
    """Return files of two structures."""
    paths = [tmp_path / f"{name}.cif" for name in ("anatase", "rutile")]
    for path in paths:
        builtin_structure(path.stem).structure.to(filename=str(path))
    return paths


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Return a file of two columns."""
    path = tmp_path / "measured.txt"
    spectrum = edge(1.5, 0.6)
    rows = [f"{e} {a}" for e, a in zip(spectrum.energy, spectrum.absorption, strict=True)]
    path.write_text("# eV, mu\n" + "\n".join(rows))
    return path


@pytest.fixture
def computed(store: SpectraStore) -> SpectraStore:
    """Return a store with anatase by both protocols; rutile failed by one."""
    compute(store, "anatase", "fast", edge())
    compute(store, "anatase", "balanced", edge(2.0, 0.7))
    compute(store, "rutile", "fast", edge())
    compute(store, "rutile", "balanced", None)
    return store


@pytest.mark.usefixtures("computed")
def test_what_is_there_is_compared_stored_listed_and_shown(
    nearedge: Command, structures: list[Path], experiment: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    reference = f"anatase:exp={experiment}"
    arguments = ("benchmark", *structures, *CODES, "--no-run", "--reference", reference)
    said = nearedge(*arguments, "--output", page, "--json")
    assert said.code == 0, said.err
    assert said.json["computed"] is None
    document = said.json["benchmark"]
    assert [column["label"] for column in document["columns"]] == [
        "feff fast@1",
        "feff balanced@1",
        "exp",
    ]
    means = {(mean["first"], mean["second"]): mean for mean in document["means"]}
    assert means["feff fast@1", "feff balanced@1"]["shift"] == pytest.approx(-2, abs=0.1)
    assert all(mean["structures"] == 1 for mean in means.values())
    assert "stage_failed. It stopped." in page.read_text()

    listed = nearedge("benchmark", "--list", "--json").json
    assert [each["benchmark_id"] for each in listed] == [document["benchmark_id"]]
    shown = nearedge("benchmark", "--show", document["benchmark_id"][:8], "--json").json
    assert shown["structures"] == document["structures"]
    table = nearedge("benchmark", "--show", document["benchmark_id"][:8]).out
    assert "not compared: rutile by feff balanced@1: stage_failed" in table
    assert document["benchmark_id"][:12] in nearedge("benchmark", "--list").out


@pytest.mark.usefixtures("computed")
def test_saved_spectra_give_the_same_figures_without_a_database(
    nearedge: Command,
    structures: list[Path],
    experiment: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, page = tmp_path / "spectra", tmp_path / "page.html"
    reference = ("--reference", f"anatase:exp={experiment}@gaussian:0.5")
    said = nearedge("benchmark", *structures, *CODES, "--no-run", *reference, "-o", page,
                    "--save", folder, "--json")  # fmt: skip
    assert said.code == 0, said.err
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.xdi"))
    assert files == ["anatase/feff_balanced@1.xdi", "anatase/feff_fast@1.xdi",
                     "rutile/feff_fast@1.xdi"]  # fmt: skip
    assert max(path.stat().st_size for path in folder.rglob("*.xdi")) < 15_000

    def away(settings: object = None) -> SpectraStore:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(SpectraStore, "from_settings", away)
    again = nearedge("benchmark", "--from", folder, *reference, "-o", page, "--json")
    assert again.code == 0, again.err
    first, second = said.json["benchmark"]["means"], again.json["benchmark"]["means"]
    figures = {frozenset((mean["first"], mean["second"])): mean for mean in first}
    assert len(second) == len(first) == 3
    for mean in second:
        before = figures[frozenset((mean["first"], mean["second"]))]
        assert mean["spearman"] == pytest.approx(before["spearman"], abs=1e-3)
        assert abs(mean["shift"]) == pytest.approx(abs(before["shift"]), abs=0.011)
    missing = [
        (structure["label"], each["column"])
        for structure in again.json["benchmark"]["structures"]
        for each in structure["spectra"]
        if each["state"] == "missing"
    ]
    assert missing == [("rutile", "feff balanced@1"), ("rutile", "exp")]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("# NearEdge.kind", "# NearEdge.gone", "the XDI file does not hold a whole NearEdge"),
        ("NearEdge.kind: ", "NearEdge.kind: {", "a NearEdge field of the XDI file is damaged"),
        ("# XDI/1.0", "# no/1.0", "the file does not begin with `# XDI/`"),
        ("# NearEdge.", "# Other.", "x.xdi is no reference spectrum in eV: the XDI file"),
    ],
)
@pytest.mark.usefixtures("computed")
def test_a_bad_file_in_the_folder_is_named_in_one_sentence(
    nearedge: Command, structures: list[Path], tmp_path: Path, before: str, after: str, says: str
) -> None:
    folder = tmp_path / "spectra"
    nearedge("benchmark", *structures, *CODES, "--no-run", "-o", tmp_path / "p", "--save", folder)
    bad = folder / "anatase" / "x.xdi"
    text = next((folder / "anatase").glob("*.xdi")).read_text()
    if "reference" in says:
        text = text.replace("# Column.1: energy eV", "# Column.1: angle degrees")
    bad.write_text(text.replace(before, after))
    said = nearedge("benchmark", "--from", folder, "-o", tmp_path / "page.html")
    assert said.code == 1
    assert says in said.err
    assert str(bad) in said.err
    assert not (tmp_path / "page.html").exists()


@pytest.mark.usefixtures("computed")
def test_spectra_that_others_put_into_the_folder_take_part(
    nearedge: Command, structures: list[Path], experiment: Path, tmp_path: Path
) -> None:
    folder, page = tmp_path / "spectra", tmp_path / "page.html"
    nearedge("benchmark", *structures, *CODES, "--no-run", "-o", page, "--save", folder)
    (folder / "anatase" / "theirs.txt").write_text(experiment.read_text())
    document = nearedge("benchmark", "--from", folder, "-o", page, "--json").json["benchmark"]
    assert document["columns"][-1]["label"] == "theirs"
    assert len(document["means"]) == 3


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("exp", "give LABEL=FILE"),
        ("exp=", "give LABEL=FILE"),
        ("exp=missing.txt", "missing.txt cannot be read"),
        ("exp={anatase}", "is no reference spectrum in eV: line 2 is not two columns but 1"),
        ("exp={experiment}", "There are 2 structures: say of which exp is"),
        ("brookite:exp={experiment}", "is of 'brookite', which is none of the structures"),
        ("anatase:feff fast@1={experiment}", "called like a code"),
        ("anatase:exp={experiment}@core-hole", "needs to know what a spectrum contains"),
        ("anatase:exp={kev}", "fewer than four points|less than half"),
    ],
)
def test_a_bad_reference_is_refused_before_anything_happens(
    nearedge: Command,
    structures: list[Path],
    experiment: Path,
    tmp_path: Path,
    store: SpectraStore,
    reference: str,
    reason: str,
) -> None:
    kev = tmp_path / "kev.txt"
    kev.write_text("\n".join(f"{e / 1000} {a}" for e, a in zip(edge().energy, edge().absorption,
                                                              strict=True)))  # fmt: skip
    given = reference.format(anatase=structures[0], experiment=experiment, kev=kev)
    page = tmp_path / "page.html"
    said = nearedge("benchmark", *structures, *CODES, "--reference", given, "-o", page)
    assert said.code == 1
    assert re.search(reason, said.err), said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not page.exists()
    assert store.database.list_collection_names() == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "give structures to compare"),
        (("{cif}",), "--absorber"),
        (("{cif}", "--list"), "give structures to compare"),
        (("{cif}", "--absorber", "Ti", "--no-run", "--submit"), "choose one"),
        (("{cif}", "--absorber", "Ti", "--codes", "nope"), "No code is called 'nope'"),
        (("{cif}", "--absorber", "Ti", "--protocol", "feff:lavish"), "no protocol 'lavish'"),
        (("{cif}", "--absorber", "Ti", "--codes", "feff,feff"), "named twice"),
        (("{cif}", "--absorber", "Ti", "--protocol", "fast,elk:fast"), "--codes does not|known"),
        (("{cif}", "--absorber", "Cu"), "cannot be used"),
        (("{cif}", "--absorber", "Ti", "--broaden", "box:1"), "is no broadening"),
        (("--from", "{folder}"), "holds no spectra as STRUCTURE/CODE.xdi"),
        (("{cif}", "--absorber", "Ti", "--no-run"), "Nothing to compare"),
        (("--show", "abcdef00"), "No benchmarks have an id"),
    ],
)
@pytest.mark.usefixtures("store")
def test_what_makes_no_benchmark_is_refused_in_a_sentence(
    nearedge: Command,
    structures: list[Path],
    tmp_path: Path,
    arguments: tuple[str, ...],
    reason: str,
) -> None:
    page = tmp_path / "page.html"
    given = [each.format(cif=structures[0], folder=tmp_path) for each in arguments]
    output = () if "--show" in given or "--list" in given else ("-o", page)
    said = nearedge("benchmark", *given, *output)
    assert said.code in (1, 2)
    assert re.search(reason, " ".join(said.err.split())), said.err
    assert not page.exists()


@pytest.mark.integration
@pytest.mark.usefixtures("ready")
def test_codes_run_are_compared_and_nothing_runs_twice(
    nearedge: Command, tmp_path: Path, molecule: object
) -> None:
    cif = tmp_path / "CO.cif"
    molecule("CO").structure.to(filename=str(cif))  # type: ignore[operator]
    page = tmp_path / "page.html"
    protocols = "feff:fast,feff:fast+fms_radius=5"
    arguments = ("benchmark", cif, "--absorber", "C", "--protocol", protocols, "-o", page)
    first = nearedge(*arguments, "--workers", "1", "--json")
    assert first.code == 0, first.err
    assert (first.json["computed"]["new"], first.json["computed"]["failures"]) == (2, {})
    (mean,) = first.json["benchmark"]["means"]
    assert (mean["second"], mean["structures"]) == ("feff fast@1+fms_radius=5.0", 1)
    assert mean["spearman"] == pytest.approx(1, abs=1e-6), "no atom lies between 4 and 5 Å"

    again = nearedge(*arguments, "--json")
    assert (again.json["computed"]["new"], again.json["computed"]["known"]) == (0, 2)
    assert again.json["benchmark"]["benchmark_id"] == first.json["benchmark"]["benchmark_id"]

    # The same as one workflow for a cluster, whose last job stores the document.
    other = ("--window", "30", "--submit")
    assert nearedge(*arguments, *other, "--json").json == {"jobs": 5}
    worked = nearedge("run", "--workers", "1", "--json")
    assert (worked.code, worked.json["left"]) == (0, 0), worked.err
    windows = [each["window"] for each in nearedge("benchmark", "--list", "--json").json]
    assert sorted(windows) == [30.0, 35.0]


def test_the_recorded_ti_o_10_still_gives_the_figures_of_the_readme(
    nearedge: Command, tmp_path: Path
) -> None:
    checkout = Path(__file__).resolve().parents[2]
    spectra = checkout / "benchmarks/ti_o_10/spectra"
    arguments = ("benchmark", "--from", spectra, "--broaden", "lorentzian:1.78+total")
    result = nearedge(*arguments, "-o", tmp_path / "page.html", "--json")
    structures = result.json["benchmark"]["structures"]
    pairs = {
        structure["label"]: pair["spearman"]
        for structure in structures
        for pair in structure["pairs"]
        if (pair["first"], pair["second"]) == ("feff", "xspectra")
    }
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (m\S+|TiO-epsilon)[^|]*\| (\d\.\d+) \(", readme, re.MULTILINE)
    assert len(rows) == 10
    assert {label: round(value, 3) for label, value in pairs.items()} == pytest.approx(
        {label: float(value) for label, value in rows}, abs=1e-3
    )
    (mean,) = re.findall(r"^\| \*\*mean\*\* \| \*\*(\d\.\d+)\*\*", readme, re.MULTILINE)
    assert np.mean(list(pairs.values())) == pytest.approx(float(mean), abs=1e-3)
