"""The demo: what it says of its findings, and, slowly, all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nearedge.cli import demo_steps
from nearedge.cli.demo_report import demo_report, gather, spectra_rows
from nearedge.cli.demo_steps import UNSEEN, tasks
from nearedge.errors import WeightsError
from nearedge.plots.report import report_html
from nearedge.schemas import SpectrumKind
from nearedge.store.queries import SpectrumQuery
from nearedge.store.spectra_store import SpectraStore

from .conftest import Command, fill


def test_the_unseen_structure_is_never_computed_and_six_oxides_are() -> None:
    wanted = tasks()
    computed = {each.source.label for task in wanted for each in task.computed}
    assert len(computed) >= 6
    assert UNSEEN not in computed
    assert [each.source.label for task in wanted for each in task.unseen] == [UNSEEN]


def test_the_report_tells_what_is_missing_instead_of_failing(store: SpectraStore) -> None:
    fill(store)
    identifiers = [row.calculation_ids[0] for row in store.listing(SpectrumQuery())]
    store.add_project(identifiers, demo_steps.PROJECT)
    findings = gather(
        store, tasks(), [], new=0, known=2, wall_seconds=1.0, notices=["CHGNet stood in."]
    )
    states = {row[0]: row[-1] for row in spectra_rows(findings)}
    assert states["rutile"] == "completed"
    assert states["TiO"] == "no spectrum"
    page = report_html(demo_report(findings)).rpartition("<main>")[2]
    for text in ("nothing was computed twice", "CHGNet stood in.", "No model could be trained"):
        assert text in page


def test_chgnet_stands_in_with_a_notice_where_weights_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere(name: str) -> None:
        raise WeightsError("No weights here.")

    notices: list[str] = []
    monkeypatch.setattr(demo_steps, "featurizer_of", nowhere)
    assert demo_steps._featurizer(notices.append) == "chgnet"
    assert "No weights here." in notices[0]
    assert "CHGNet" in notices[0]


def test_a_folder_is_no_page_to_write_and_is_refused_before_the_work(
    nearedge: Command, home: Path, tmp_path: Path
) -> None:
    said = nearedge("demo", "--output", tmp_path)
    assert said.code == 1
    assert "is a folder" in said.err
    assert not home.exists()


@pytest.mark.slow
@pytest.mark.integration
def test_the_whole_demo_from_nothing_and_again(nearedge: Command, home: Path) -> None:
    try:
        first = nearedge("demo", "--json")
        assert first.code == 0, first.err
        said = first.json
        assert said["new"] == 9
        assert said["failures"] == {}
        assert [answer["structure"] for answer in said["predictions"]] == [UNSEEN]
        assert min(said["predictions"][0]["average"]["std"]) > 0
        assert Path(said["report"]).read_text().startswith("<!doctype html>")

        again = nearedge("demo", "--json").json
        assert (again["new"], again["known"]) == (0, 9)
        assert again["models"] == said["models"]
        assert again["predictions"] == said["predictions"]
        averages = nearedge("query", "--kind", SpectrumKind.AVERAGE.value, "--json").json
        assert len(averages) == 8
    finally:
        nearedge("down")
