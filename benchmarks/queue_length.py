"""What it costs to take a job out of queues of different lengths: what several launchpads save.

Run with ``python benchmarks/queue_length.py [LENGTH ...]``. The queue is filled with copies of a
real site's job and its average, as `nearedge submit` makes them, under numbers of their own. One
line of JSON for each length: CPU milliseconds of this process and of the embedded server.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import synthetic
from embedded import cpu_seconds, server_process
from fireworks.core.fworker import FWorker

from nearedge.cli.database_state import make_ready, overview
from nearedge.launch.fireworks import launchpad
from nearedge.launch.guarding import GuardedLaunchPad
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.recovery import diagnose
from nearedge.launch.token import let_go
from nearedge.settings import Settings, load_settings
from nearedge.store.connection import connect
from nearedge.store.lifecycle import down
from nearedge.workflows import campaign

LENGTHS = (1_000, 10_000, 30_000)
_TAKEN = 20
_BATCH = 500


def fill(pad: GuardedLaunchPad, length: int) -> None:
    """Copy the crystal that was submitted until there are `length` jobs."""
    workflow = pad.workflows.find_one({}, {"_id": 0}, sort=[("nodes", 1)])
    jobs = list(pad.fireworks.find({"fw_id": {"$in": workflow["nodes"]}}, {"_id": 0}))
    have = pad.fireworks.count_documents({})
    first = pad.fireworks.find_one(sort=[("fw_id", -1)])["fw_id"] + 1
    fireworks, workflows = [], []
    while have < length:
        new = {old: first + number for number, old in enumerate(sorted(workflow["nodes"]))}
        fresh, copies = copy.deepcopy(workflow), copy.deepcopy(jobs)
        fresh["nodes"] = list(new.values())
        for field in ("links", "parent_links"):
            fresh[field] = {
                str(new[int(above)]): [new[each] for each in below]
                for above, below in workflow[field].items()
            }
        fresh["fw_states"] = {str(new[int(k)]): v for k, v in workflow["fw_states"].items()}
        for each in copies:
            each["fw_id"] = new[each["fw_id"]]
        fireworks += copies
        workflows.append(fresh)
        have += len(copies)
        first += len(copies)
        if len(fireworks) >= _BATCH or have >= length:
            pad.workflows.insert_many(workflows)
            pad.fireworks.insert_many(fireworks)
            fireworks, workflows = [], []
    pad.fw_id_assigner.update_one({"_id": -1}, {"$max": {"next_fw_id": first}})


def take(pad: GuardedLaunchPad, folder: Path) -> None:
    """Take one job, as a worker does."""
    worker = FWorker(name=WorkerIdentity.of_this_process().name)
    assert pad.run_exists(worker)
    taken, _ = pad.checkout_fw(worker, str(folder))
    assert taken is not None
    let_go()


def measure(settings: Settings, length: int) -> None:
    """Fill the queue and print what taking a job costs."""
    pad, database = launchpad(settings), connect(settings)
    fill(pad, length)
    process = server_process(settings)

    def cost(work: Callable[[], object], times: int = 1) -> dict[str, float]:
        own, server = time.process_time(), cpu_seconds(process)
        for _ in range(times):
            work()
        own, server = time.process_time() - own, cpu_seconds(process) - server
        spent = {"own_cpu_ms": own, "server_cpu_ms": server}
        return {name: round(1000 * seconds / times, 1) for name, seconds in spent.items()}

    jobs = pad.fireworks.count_documents({})
    folder = settings.home / "launch"
    works: tuple[tuple[str, Callable[[], object], int], ...] = (
        ("the first job taken", lambda: take(pad, folder), 1),
        ("a job taken", lambda: take(pad, folder), _TAKEN),
        ("status", lambda: overview(settings), 1),
        ("a look at what is lost", lambda: diagnose(pad, database), 1),
    )
    for what, work, times in works:
        line = {
            "what": what,
            "jobs": jobs,
            **cost(work, times),
            "load": round(os.getloadavg()[0], 1),
        }
        print(json.dumps(line), flush=True)
    memory = round(process.memory_info().rss / 2**20)
    print(json.dumps({"what": "server", "jobs": jobs, "mb": memory}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("lengths", nargs="*", type=int, default=LENGTHS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings(home=Path(home), mongo_uri=None)
        make_ready(settings)
        try:
            crystal = synthetic.crystal(0, absorber="Ti")
            campaign.submit([crystal], absorber="Ti", project="queue", settings=settings)
            for length in sorted(options.lengths):
                measure(settings, length)
        finally:
            down(settings)


if __name__ == "__main__":
    main()
