"""Failures run again by name: the same calculations, or new ones that name their parents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fireworks.core.launchpad import LaunchPad

from nearedge.codes.base import CodeResult
from nearedge.errors import CodeError
from nearedge.makers.documents import completed_record, failed_record
from nearedge.schemas import StructureDoc
from nearedge.schemas.spectrum import EnergyReference
from nearedge.spectra.spectrum import Spectrum
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows import again
from nearedge.workflows.again import Changes, run_again
from nearedge.workflows.campaign import SubmissionReport, submit
from nearedge.workflows.spectrum import SpectrumFlowMaker, plan_sites

Molecule = Callable[[str], LoadedStructure]
ERROR = "scf_not_converged"


@pytest.fixture(autouse=True)
def launchpad(pad: LaunchPad, monkeypatch: pytest.MonkeyPatch) -> LaunchPad:
    monkeypatch.setattr(again, "launchpad", lambda settings: pad)
    return pad


@pytest.fixture
def failed(store: SpectraStore, molecule: Molecule) -> list[str]:
    """Record ethanol's first carbon as computed, its second as failed; return their ids."""
    loaded = molecule("CCO")
    document = StructureDoc.from_structure(loaded.structure, loaded.source)
    good, bad = plan_sites(SpectrumFlowMaker().site_maker, document, "C", "K")
    result = CodeResult(Spectrum([1.0, 2.0], [0.0, 1.0]), EnergyReference(kind="absolute"), [])  # type: ignore[arg-type]
    store.record(*completed_record(good, result, project="p"))
    store.record(*failed_record(bad, CodeError(ERROR, "It did not."), project="p"))
    return [good.calculation_id, bad.calculation_id]


def counts(report: SubmissionReport) -> tuple[int, int, int, int]:
    return (report.new, report.known, report.queued, len(report.refused))


def sites(pad: LaunchPad) -> Iterator[dict[str, Any]]:
    for firework in pad.fireworks.find({"spec.nearedge.kind": "site"}):
        yield firework["spec"]


def test_the_same_calculation_is_queued_once_and_only_where_it_failed(
    pad: LaunchPad, failed: list[str]
) -> None:
    assert counts(run_again(ERROR, dry_run=True)) == (1, 0, 0, 0)
    assert pad.fireworks.count_documents({}) == 0
    assert counts(run_again(ERROR)) == (1, 0, 0, 0)
    (site,) = sites(pad)
    assert site["nearedge"]["calculation_id"] == failed[1]
    assert site["nearedge"]["code"] == "feff"
    assert pad.fireworks.count_documents({"spec.nearedge.kind": "average"}) == 1
    assert counts(run_again(ERROR)) == (0, 0, 1, 0)


def test_other_groups_are_left_alone(pad: LaunchPad, failed: list[str]) -> None:
    for other in ({"code": "elk"}, {"project": "q"}):
        assert counts(run_again(ERROR, **other)) == (0, 0, 0, 0)  # type: ignore[arg-type]
    assert counts(run_again("stage_timeout")) == (0, 0, 0, 0)
    assert pad.fireworks.count_documents({}) == 0


def test_with_changes_it_becomes_a_new_calculation_that_names_the_failed_one(
    pad: LaunchPad, failed: list[str]
) -> None:
    changes = Changes(settings=("fms_radius=3",))
    assert counts(run_again(ERROR, changes=changes)) == (1, 0, 0, 0)
    (site,) = sites(pad)
    assert site["nearedge"]["calculation_id"] not in failed
    job = site["_tasks"][0]["job"]
    assert job["function_kwargs"]["instead_of"] == failed[1]
    assert counts(run_again(ERROR, changes=changes)) == (0, 0, 1, 0)
    whole = Changes(protocol="balanced", whole_crystals=True)
    assert counts(run_again(ERROR, changes=whole)) == (2, 0, 0, 0)


def test_what_such_a_change_gave_before_is_known(
    store: SpectraStore, pad: LaunchPad, failed: list[str], molecule: Molecule
) -> None:
    loaded = molecule("CCO")
    document = StructureDoc.from_structure(loaded.structure, loaded.source)
    maker = SpectrumFlowMaker.for_code("feff", protocol="balanced").site_maker
    _, bad = plan_sites(maker, document, "C", "K")
    store.record(*failed_record(bad, CodeError("stage_timeout", "Too long.")))
    assert counts(run_again(ERROR, changes=Changes(protocol="balanced"))) == (0, 1, 0, 0)
    assert pad.fireworks.count_documents({}) == 0


def test_what_cannot_be_the_same_calculation_is_refused_once_for_each_reason(
    store: SpectraStore, pad: LaunchPad, failed: list[str]
) -> None:
    refused = run_again(ERROR, changes=Changes(settings=("bogus=1",))).refused
    assert "no setting 'bogus'" in refused[0].reason
    calculations = store.database["calculations"]
    stored = calculations.find_one({"_id": failed[1]})
    assert stored is not None
    for number in range(2):
        # By another version of the code, whose id nobody can give again.
        calculations.insert_one({**stored, "_id": f"old-{number}", "code_version": "9"})
    report = run_again(ERROR)
    assert counts(report) == (1, 0, 0, 1)
    assert "by version 9" in report.refused[0].reason
    assert report.refused[0].label.endswith("and 1 more")


@pytest.mark.parametrize("state", ["RUNNING", "FIZZLED"])
def test_a_failure_of_a_pack_that_is_still_in_the_queue_is_queued_as_a_single_site(
    pad: LaunchPad, store: SpectraStore, molecule: Molecule, state: str
) -> None:
    loaded = molecule("CCO")
    submit([loaded], absorber="C", project="p", pack=10)
    pad.fireworks.update_many({}, {"$set": {"state": state}})
    document = StructureDoc.from_structure(loaded.structure, loaded.source)
    bad, _ = plan_sites(SpectrumFlowMaker().site_maker, document, "C", "K")
    store.record(*failed_record(bad, CodeError(ERROR, "It did not."), project="p"))
    assert counts(run_again(ERROR)) == (1, 0, 0, 0)
    (site,) = sites(pad)
    assert site["nearedge"]["calculation_id"] == bad.calculation_id
    assert pad.fireworks.find_one({"spec.nearedge.kind": "pack"})["state"] == state
    assert counts(run_again(ERROR)) == (0, 0, 1, 0)


def test_failures_of_several_projects_share_packs_within_each_and_name_what_they_repeat(
    pad: LaunchPad, store: SpectraStore, failed: list[str], molecule: Molecule
) -> None:
    store.add_project([failed[1]], "q")
    assert counts(run_again(ERROR, pack=10)) == (2, 0, 0, 0)
    packs = [each["spec"]["nearedge"] for each in pad.fireworks.find({})]
    assert {each["project"]: each["calculation_id"] for each in packs} == {
        "p": [failed[1]],
        "q": [failed[1]],
    }
    assert all(each["rerun_failed"] and list(each["failures"]) == [failed[1]] for each in packs)
    assert counts(run_again(ERROR, pack=10)) == (0, 0, 2, 0)
    pad.fireworks.delete_many({})
    changes = Changes(settings=("fms_radius=3",))
    assert counts(run_again(ERROR, project="p", changes=changes, pack=10)) == (1, 0, 0, 0)
    (job,) = pad.fireworks.find({})
    (new,) = job["spec"]["nearedge"]["calculation_id"]
    assert job["spec"]["_tasks"][0]["job"]["function_args"][5] == {new: failed[1]}
