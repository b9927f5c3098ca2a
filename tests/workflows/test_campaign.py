"""A submission computes nothing twice and says how much is new, known, queued and refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from fireworks.core.launchpad import LaunchPad

from nearedge.codes.base import CodeResult
from nearedge.errors import CodeError
from nearedge.launch.fencing import FencedLaunchPad
from nearedge.makers.average import average_sites
from nearedge.makers.documents import completed_record, failed_record
from nearedge.schemas import SpectrumKind, StructureDoc
from nearedge.schemas.document import utc_now
from nearedge.schemas.spectrum import EnergyReference
from nearedge.spectra.spectrum import Spectrum
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure, Refusal
from nearedge.workflows import campaign
from nearedge.workflows.campaign import SubmissionReport, submit
from nearedge.workflows.spectrum import SpectrumFlowMaker, plan_sites, shares

Molecule = Callable[[str], LoadedStructure]

pytestmark = pytest.mark.usefixtures("pad", "store")


def compute(store: SpectraStore, loaded: LoadedStructure, absorber: str, *, fail: int = 0) -> None:
    """Record what running the queue would: the last `fail` sites fail by name."""
    document = StructureDoc.from_structure(loaded.structure, loaded.source)
    sites = plan_sites(SpectrumFlowMaker().site_maker, document, absorber, "K")
    result = CodeResult(Spectrum([1.0, 2.0], [0.0, 1.0]), EnergyReference(kind="absolute"), [])  # type: ignore[arg-type]
    for number, site in enumerate(sites):
        if number >= len(sites) - fail:
            store.record(*failed_record(site, CodeError("stage_failed", "It stopped.")))
        else:
            store.record(*completed_record(site, result))
    average_sites(store, shares(sites))


def counts(report: SubmissionReport) -> tuple[int, int, int, int]:
    return (report.new, report.known, report.queued, len(report.refused))


def test_what_is_new_is_added_and_the_second_time_it_is_queued(
    pad: LaunchPad, molecule: Molecule
) -> None:
    loaded = [molecule("CO"), molecule("CCO")]
    assert counts(submit(loaded, absorber="C", project="p")) == (3, 0, 0, 0)
    assert pad.fireworks.count_documents({}) == 5
    assert counts(submit(loaded, absorber="C", project="p")) == (0, 0, 3, 0)
    assert pad.fireworks.count_documents({}) == 5


def test_what_is_recorded_is_known_and_filed_under_the_project(
    pad: LaunchPad, store: SpectraStore, molecule: Molecule
) -> None:
    compute(store, molecule("CCO"), "C")
    assert counts(submit([molecule("CCO")], absorber="C", project="p")) == (0, 2, 0, 0)
    assert pad.fireworks.count_documents({}) == 0
    assert store.count(SpectrumQuery(project="p")) == 3, "two sites and the average"


def test_only_the_missing_sites_of_a_crystal_are_added(
    pad: LaunchPad, store: SpectraStore, molecule: Molecule
) -> None:
    compute(store, molecule("CCO"), "C", fail=1)
    assert counts(submit([molecule("CCO")], absorber="C")) == (0, 2, 0, 0)
    assert pad.fireworks.count_documents({}) == 0, "a failure that has a name is known, too"
    report = submit([molecule("CCO")], absorber="C", rerun_failed=True)
    assert counts(report) == (1, 1, 0, 0)
    assert pad.fireworks.count_documents({}) == 2, "the failed site and the average"


def test_a_missing_average_is_made_though_every_site_is_known(
    pad: LaunchPad, store: SpectraStore, molecule: Molecule
) -> None:
    compute(store, molecule("CO"), "C")
    store.database["spectra"].delete_one({"kind": "average"})
    assert counts(submit([molecule("CO")], absorber="C")) == (0, 1, 0, 0)
    assert [each["spec"]["nearedge"]["kind"] for each in pad.fireworks.find({})] == ["average"]


def test_the_same_structure_given_twice_is_computed_once(
    pad: LaunchPad, molecule: Molecule
) -> None:
    assert counts(submit([molecule("CO")] * 3, absorber="C")) == (1, 0, 0, 0)
    assert pad.fireworks.count_documents({}) == 2


def test_another_projects_queued_job_does_not_hide_ours(pad: LaunchPad, molecule: Molecule) -> None:
    submit([molecule("CO")], absorber="C", project="theirs")
    assert counts(submit([molecule("CO")], absorber="C", project="ours")) == (1, 0, 0, 0)
    assert counts(submit([molecule("CO")], absorber="C", project="ours")) == (0, 0, 1, 0)


def test_a_job_that_fizzled_is_put_back_instead_of_added_again(
    pad: LaunchPad, molecule: Molecule
) -> None:
    submit([molecule("CO")], absorber="C")
    site = {"spec.nearedge.kind": "site"}
    pad.fireworks.update_one(site, {"$set": {"state": "FIZZLED"}})
    assert counts(submit([molecule("CO")], absorber="C")) == (1, 0, 0, 0)
    assert pad.fireworks.find_one(site)["state"] == "READY"
    assert pad.fireworks.count_documents({}) == 2


def test_of_what_is_refused_nothing_is_submitted(pad: LaunchPad, molecule: Molecule) -> None:
    lonely = molecule("CO")
    lonely.structure.remove_sites([1])
    given = [Refusal("broken.cif", "It is no structure."), molecule("OCO"), lonely]
    report = submit(given, absorber="C")
    assert counts(report) == (1, 0, 0, 2)
    assert report.refused[0] == given[0]
    assert "neighbour" in report.refused[1].reason
    report = submit([molecule("CO")], absorber="Ti")
    assert counts(report) == (0, 0, 0, 1)
    assert "Ti" in report.refused[0].reason
    report = submit([molecule("CO")], absorber="C", edge="P9")
    assert "P9" in report.refused[0].reason
    assert pad.fireworks.count_documents({}) == 2


def test_progress_counts_the_structures(molecule: Molecule) -> None:
    seen: list[tuple[int, int]] = []
    submit(
        [molecule("CO"), molecule("CN")],
        absorber="C",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 2), (2, 2)]


def test_hundreds_of_structures_are_submitted_at_once(pad: LaunchPad, molecule: Molecule) -> None:
    loaded = []
    for number in range(200):
        structure = molecule("CO").structure
        structure.translate_sites([1], [0, 0, number * 1e-4], frac_coords=False)
        loaded.append(LoadedStructure(structure, molecule("CO").source))
    assert submit(loaded, absorber="C").new == 200
    assert submit(loaded, absorber="C").queued == 200


def test_what_has_priority_is_taken_first_and_its_average_before_the_next_site(
    pad: LaunchPad, molecule: Molecule
) -> None:
    submit([molecule("CO")], absorber="C", project="later")
    submit([molecule("CO")], absorber="C", project="first", priority=5)
    found = pad.fireworks.find({}, {"spec.nearedge": 1, "spec._priority": 1})
    priorities = {
        (each["spec"]["nearedge"]["project"], each["spec"]["nearedge"]["kind"]): each["spec"][
            "_priority"
        ]
        for each in found
    }
    assert priorities == {
        ("later", "site"): 0,
        ("later", "average"): 1,
        ("first", "site"): 5,
        ("first", "average"): 6,
    }


def test_packed_sites_are_queued_once_and_a_pack_that_fizzled_is_put_back_once(
    pad: LaunchPad, store: SpectraStore, molecule: Molecule, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = [molecule("CO"), molecule("CCO"), molecule("OCO")]
    compute(store, loaded[2], "C")
    assert counts(submit(loaded, absorber="C", project="p", pack=10)) == (3, 1, 0, 0)
    (job,) = pad.fireworks.find({})
    about = job["spec"]["nearedge"]
    assert (about["kind"], len(about["calculation_id"])) == ("pack", 3)
    assert counts(submit(loaded, absorber="C", project="p")) == (0, 1, 3, 0)
    pad.fireworks.update_many({}, {"$set": {"state": "FIZZLED"}})
    put_back: list[int] = []
    monkeypatch.setattr(FencedLaunchPad, "rerun_fw", lambda self, fw_id: put_back.append(fw_id))
    assert counts(submit(loaded, absorber="C", project="p", pack=10)) == (3, 1, 0, 0)
    assert put_back == [job["fw_id"]]
    assert pad.fireworks.count_documents({}) == 1


def test_a_pack_has_at_least_as_many_sites_as_asked_and_no_crystal_is_divided(
    pad: LaunchPad, molecule: Molecule
) -> None:
    loaded = [molecule("CO"), molecule("CCO"), molecule("OCO")]
    submit(loaded, absorber="C", project="p", pack=2)
    jobs = [each["spec"]["nearedge"]["calculation_id"] for each in pad.fireworks.find({})]
    assert sorted(map(len, jobs)) == [1, 3]


def test_a_pack_that_computes_failures_again_is_queued_for_them_and_no_other_pack_is(
    pad: LaunchPad, store: SpectraStore, molecule: Molecule
) -> None:
    again = {"absorber": "C", "project": "p", "pack": 10}
    submit([molecule("CCO")], **again)  # type: ignore[arg-type]
    pad.fireworks.update_many({}, {"$set": {"state": "RUNNING"}})
    compute(store, molecule("CCO"), "C", fail=1)
    assert counts(submit([molecule("CCO")], rerun_failed=True, **again)) == (1, 1, 0, 0)  # type: ignore[arg-type]
    jobs = [each["spec"]["nearedge"] for each in pad.fireworks.find({})]
    assert [(len(job["calculation_id"]), job["rerun_failed"]) for job in jobs] == [
        (2, False),
        (1, True),
    ]
    assert counts(submit([molecule("CCO")], rerun_failed=True, **again)) == (0, 1, 1, 0)  # type: ignore[arg-type]


def test_a_pack_that_still_runs_will_make_its_averages(
    pad: LaunchPad, store: SpectraStore, molecule: Molecule
) -> None:
    loaded = [molecule("CO"), molecule("CCO")]
    submit(loaded, absorber="C", project="p", pack=10)
    for each in loaded:
        compute(store, each, "C")
    averages = {row.spectrum_id for row in store.listing(SpectrumQuery(kind=SpectrumKind.AVERAGE))}
    assert set(pad.fireworks.find_one({})["spec"]["nearedge"]["average_id"]) == averages
    store.database["spectra"].delete_many({"kind": "average"})
    for state, jobs in (("RUNNING", 1), ("COMPLETED", 2)):
        pad.fireworks.update_many({}, {"$set": {"state": state}})
        assert counts(submit(loaded, absorber="C", project="p", pack=10)) == (0, 3, 0, 0)
        assert pad.fireworks.count_documents({}) == jobs, state


def test_crystals_that_lack_only_their_averages_share_packs_of_the_size_asked(
    pad: LaunchPad, store: SpectraStore, molecule: Molecule
) -> None:
    loaded = [molecule(each) for each in ("CO", "CCO", "OCO")]
    for each in loaded:
        compute(store, each, "C")
    store.database["spectra"].delete_many({"kind": "average"})
    submit(loaded, absorber="C", project="p", pack=2)
    labels = sorted(each["spec"]["nearedge"]["label"] for each in pad.fireworks.find({}))
    assert [label.partition(" from")[0] for label in labels] == [
        "0 sites of 1 crystals",
        "0 sites of 2 crystals",
    ]


@pytest.mark.parametrize("pack", [1, 10])
def test_averages_that_wait_in_the_queue_are_not_added_again(
    pad: LaunchPad, store: SpectraStore, molecule: Molecule, pack: int
) -> None:
    loaded = [molecule("CO"), molecule("CCO")]
    for each in loaded:
        compute(store, each, "C")
    store.database["spectra"].delete_many({"kind": "average"})
    for project, jobs in (("p", 1), ("p", 1), ("q", 2), (None, 2)):
        assert counts(submit(loaded, absorber="C", project=project, pack=pack)) == (0, 3, 0, 0)
        assert pad.fireworks.count_documents({}) == jobs * (1 if pack > 1 else 2), project


def test_a_failure_that_a_pack_has_made_itself_it_will_not_compute_again_and_another_pack_does(
    pad: LaunchPad, store: SpectraStore, molecule: Molecule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a pack that computes failures again and fizzles by an error of one of its sites."""
    compute(store, molecule("CCO"), "C", fail=2)
    again = {"absorber": "C", "project": "p", "pack": 10, "rerun_failed": True}
    assert counts(submit([molecule("CCO")], **again)) == (2, 0, 0, 0)  # type: ignore[arg-type]
    (job,) = pad.fireworks.find({})
    first, second = job["spec"]["nearedge"]["calculation_id"]
    later = {"$set": {"created_at": utc_now() + timedelta(seconds=1)}}
    store.database["calculations"].update_one({"_id": first}, later)
    pad.fireworks.update_many({}, {"$set": {"state": "FIZZLED"}})
    put_back: list[int] = []
    monkeypatch.setattr(FencedLaunchPad, "rerun_fw", lambda self, fw_id: put_back.append(fw_id))
    assert counts(submit([molecule("CCO")], **again)) == (2, 0, 0, 0)  # type: ignore[arg-type]
    assert put_back == [job["fw_id"]], "for the second, whose failure it was asked for"
    other = pad.fireworks.find_one({"fw_id": {"$ne": job["fw_id"]}})["spec"]["nearedge"]
    assert other["calculation_id"] == list(other["failures"]) == [first]
    assert second in job["spec"]["nearedge"]["failures"]


def test_packs_say_which_failures_they_repeat_in_their_jobs_as_in_what_is_said_of_them(
    pad: LaunchPad, store: SpectraStore, molecule: Molecule
) -> None:
    compute(store, molecule("CCO"), "C", fail=1)
    submit([molecule("CCO")], absorber="C", pack=10, rerun_failed=True)
    (job,) = pad.fireworks.find({})
    (failed,) = store.calculations(CalculationQuery(failed=True))
    told = {failed.calculation_id: failed.created_at.isoformat()}
    assert job["spec"]["nearedge"]["failures"] == told
    assert job["spec"]["_tasks"][0]["job"]["function_args"][4] == told


def test_crystals_of_too_many_atoms_together_share_no_pack(
    pad: LaunchPad, molecule: Molecule, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = [molecule(each) for each in ("CO", "CCO", "OCO")]
    numbers = [len(each.structure) for each in loaded]
    monkeypatch.setattr(campaign, "_PACK_ATOMS", sum(numbers[:2]))
    submit(loaded, absorber="C", project="p", pack=100)
    jobs = [each["spec"]["nearedge"]["calculation_id"] for each in pad.fireworks.find({})]
    assert sorted(map(len, jobs)) == [1, 3]
