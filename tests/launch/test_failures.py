"""Jobs that fizzled are told by the class of their error, and put back by it."""

from __future__ import annotations

from collections.abc import Callable

from fireworks import Firework, FWAction
from fireworks.core.fworker import FWorker
from fireworks.core.launchpad import LaunchPad

from nearedge.launch.failures import NO_ERROR, fizzled_jobs, run_fizzled_again

TRACE = "Traceback (most recent call last):\n  File x, line 1\n{}\n"


def fizzle(pad: LaunchPad, firework: Firework, error: str | None) -> int:
    (fw_id,) = pad.add_wf(firework).values()
    launched, launch_id = pad.checkout_fw(FWorker(), "/somewhere", fw_id=fw_id)
    assert launched.fw_id == fw_id
    trace = {} if error is None else {"_exception": {"_stacktrace": TRACE.format(error)}}
    pad.complete_launch(launch_id, FWAction(stored_data=trace), "FIZZLED")
    return int(fw_id)


def test_a_job_is_told_by_its_error_and_put_back_by_its_name(
    pad: LaunchPad, idle: Callable[..., Firework]
) -> None:
    about = {"kind": "site", "code": "feff", "project": "oxides", "label": "TiO2 Ti0 K"}
    first = fizzle(pad, idle(nearedge=about), "nearedge.errors.StructureError: too close")
    fizzle(pad, idle(nearedge={"kind": "average"}), "nearedge.errors.ResourceError: disk full")
    fizzle(pad, idle(), None)
    jobs = {job.name: job for job in fizzled_jobs(pad)}
    assert set(jobs) == {"StructureError", "ResourceError", NO_ERROR}
    assert (jobs["StructureError"].about, jobs["StructureError"].label) == ("feff", "TiO2 Ti0 K")
    assert [jobs[name].by_machine for name in sorted(jobs)] == [True, False, False]
    assert jobs["ResourceError"].about == "average"
    assert [job.fw_id for job in fizzled_jobs(pad, project="oxides")] == [first]
    assert fizzled_jobs(pad, code="elk") == []

    assert run_fizzled_again(pad, "StructureError", dry_run=True) == 1
    assert pad.fireworks.find_one({"fw_id": first})["state"] == "FIZZLED"
    assert run_fizzled_again(pad, "StructureError", project="other") == 0
    assert run_fizzled_again(pad, "StructureError") == 1
    assert pad.fireworks.find_one({"fw_id": first})["state"] == "READY"
