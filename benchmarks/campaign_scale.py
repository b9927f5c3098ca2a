"""What a campaign costs besides its calculations: submission, the queue, the store, and memory.

Run with ``python benchmarks/campaign_scale.py [--sites N] [--pack N] [--workers 1,2] [--feff]``.
The sites are of a code that sleeps 10 ms and gives a real-size spectrum (see `synthetic`), or of
FEFF's `fast`. Each number of workers gets as many sites of its own, in one database.

One line of JSON for each step. CPU seconds are of the process named, with all that it started: on a
machine that others use they are the figures to trust, and those by the clock belong to the `load`.
`busy` is the share of the clock that a process spends on a core, and how many cores all of them
hold: where those are all that the machine has, it is the cores that limit, not waiting.
What starting a worker costs, with all that it imports, is measured with a single crystal of the
code that sleeps, and taken off.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import psutil
import synthetic
from embedded import cpu_seconds, server_process

from nearedge.launch.fireworks import launchpad
from nearedge.launch.pool import run_workers
from nearedge.launch.progress import progress
from nearedge.settings import Settings, load_settings
from nearedge.store.lifecycle import down, up
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows import spectrum
from nearedge.workflows.campaign import submit

SITES_OF_A_CRYSTAL = 4
FIRST = 1_000_000
"""Number of the crystal that a worker is started with."""
_SAMPLE_SECONDS = 2.0


@dataclass
class Meter:
    """What the processes cost and how large they are.

    Parameters
    ----------
    server
        The embedded server.
    sizes
        MB of each worker, and of the server, at every look.
    """

    server: psutil.Process
    sizes: dict[str, list[float]] = field(default_factory=dict)

    def look(self) -> None:
        """Note how large every process is."""
        workers = [each for each in psutil.Process().children() if each.pid != self.server.pid]
        found = {"server": self.server} | {f"worker {each.pid}": each for each in workers}
        for name, process in found.items():
            try:
                self.sizes.setdefault(name, []).append(process.memory_info().rss / 2**20)
            except psutil.NoSuchProcess:
                continue

    def growth(self) -> dict[str, list[int]]:
        """Return each process's largest size in the second and in the last quarter of its time."""
        grown = {}
        for name, sizes in self.sizes.items():
            quarter = len(sizes) // 4
            if quarter:
                of_quarters = (sizes[quarter : 2 * quarter], sizes[-quarter:])
                grown[name] = [round(max(each)) for each in of_quarters]
        self.sizes = {}
        return grown


@dataclass(frozen=True)
class Cost:
    """Seconds: of the clock, and of the CPU by this process, by the workers and by the server."""

    wall: float
    own: float
    workers: float
    server: float


def cost_of(work: Callable[[], object], meter: Meter) -> Cost:
    """Do some work and return what it cost."""

    def now() -> Cost:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return Cost(
            time.monotonic(),
            time.process_time(),
            children.ru_utime + children.ru_stime,
            cpu_seconds(meter.server),
        )

    before = now()
    work()
    after = now()
    return Cost(
        after.wall - before.wall,
        after.own - before.own,
        after.workers - before.workers,
        after.server - before.server,
    )


def busy(cost: Cost, workers: int) -> dict[str, float]:
    """Return the share of the clock that each process is on a core, and the cores they hold.

    A worker's has its calculations in it, which may run on more cores than one.
    """
    shares = {"this process": cost.own, "server": cost.server}
    if workers:
        shares["a worker"] = cost.workers / workers
    shares["cores held"] = cost.own + cost.server + cost.workers
    return {name: round(seconds / cost.wall, 2) for name, seconds in shares.items()}


def tell(**figures: object) -> None:
    """Print a line of JSON."""
    rounded = {k: round(v, 2) if isinstance(v, float) else v for k, v in figures.items()}
    print(json.dumps({**rounded, "load": round(os.getloadavg()[0], 1)}), flush=True)


def submitted(
    settings: Settings, first: int, sites: int, code: str, pack: int, meter: Meter
) -> None:
    """Submit so many sites of crystals that nobody has, and tell what it cost."""
    numbers = range(first, first + sites // SITES_OF_A_CRYSTAL)
    crystals: list[LoadedStructure] = [synthetic.crystal(n, absorber="Ti") for n in numbers]
    name = f"campaign-{first}"

    def work() -> None:
        submit(
            crystals,
            absorber="Ti",
            codes=[code],
            project=name,
            pack=pack,
            settings=settings,
        )

    cost = cost_of(work, meter)
    tell(
        what="submission",
        sites=sites,
        own_cpu_ms_each=1000 * cost.own / sites,
        server_cpu_ms_each=1000 * cost.server / sites,
        sites_per_cpu_second=sites / (cost.own + cost.server),
        sites_per_second=sites / cost.wall,
        busy=busy(cost, 0),
    )


def worked(
    settings: Settings, count: int, sites: int, first: int, start: Cost, meter: Meter
) -> Cost:
    """Let so many workers work the queue, tell what it cost besides the calculations, return it."""
    store = SpectraStore.from_settings(settings)
    name = f"campaign-{first}"
    with_queue = progress(launchpad(settings), store.database, project=name)
    assert sum(part.remaining for part in with_queue) == sites

    def work() -> None:
        summary = run_workers(count, settings, watch=meter.look, watch_seconds=_SAMPLE_SECONDS)
        assert not summary.failed, summary
        assert not summary.messages, summary

    meter.sizes = {}
    cost = cost_of(work, meter)
    query = CalculationQuery(project=name, failed=False)
    calculations = list(store.calculations(query))
    averages = store.count(SpectrumQuery(project=name, kind="average", state="completed"))
    assert (len(calculations), averages) == (sites, sites // SITES_OF_A_CRYSTAL)
    calculating = sum(each.wall_seconds or 0.0 for each in calculations)
    computing = sum(each.cpu_seconds or 0.0 for each in calculations)
    whole = Cost(
        cost.wall - start.wall, cost.own, cost.workers - count * start.workers, cost.server
    )
    workers = whole.workers - computing
    tell(
        what="campaign",
        workers=count,
        sites=sites,
        wall_s=whole.wall,
        calculation_wall_ms_each=1000 * calculating / sites,
        calculation_cpu_ms_each=1000 * computing / sites,
        calculation_share_of_workers=calculating / (count * whole.wall),
        worker_cpu_ms_each=1000 * workers / sites,
        server_cpu_ms_each=1000 * whole.server / sites,
        overhead_cpu_ms_each=1000 * (workers + whole.server) / sites,
        overhead_wall_ms_each=1000 * (count * whole.wall - calculating) / sites,
        busy=busy(whole, count),
        MB_second_and_last_quarter=meter.growth(),
    )
    return whole


def campaign(settings: Settings, options: argparse.Namespace) -> None:
    """Measure submission, one number of workers after the other, and their efficiency."""
    meter = Meter(server_process(settings))
    code = "feff" if options.feff else synthetic.SLEEPING
    submitted(settings, FIRST, SITES_OF_A_CRYSTAL, synthetic.SLEEPING, 40, meter)
    start = cost_of(lambda: run_workers(1, settings), meter)
    tell(what="start of a worker", cpu_s=start.workers, wall_s=start.wall)
    costs: dict[int, Cost] = {}
    for number, count in enumerate(options.workers):
        first = number * options.sites
        submitted(settings, first, options.sites, code, options.pack, meter)
        costs[count] = worked(settings, count, options.sites, first, start, meter)
    base = min(costs)
    for count, cost in costs.items():
        if count != base:
            tell_efficiency(costs[base], base, cost, count)


def tell_efficiency(one: Cost, base: int, cost: Cost, count: int) -> None:
    """Tell how much of `count` / `base` times the work `count` workers do in the same time.

    By the clock it cannot exceed what the cores allow: workers, the server and what counts them are
    `count` + 2 processes. By the CPU it says what a site costs more because others work beside it.
    """
    cores = os.cpu_count() or 1
    seconds, more = (each.own + each.workers + each.server for each in (one, cost))
    ideal = one.wall * base / count
    tell(
        what="efficiency",
        workers=[base, count],
        by_clock=ideal / cost.wall,
        by_clock_at_most=ideal / max(ideal, more / cores),
        by_cpu=seconds / more,
        cpu_a_site_over_fewer_workers=more / seconds,
        cores=cores,
    )


def main() -> None:
    """Read the options, and measure in a database of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--pack", type=int, default=40)
    parser.add_argument(
        "--workers", type=lambda text: [int(each) for each in text.split(",")], default=[1, 2]
    )
    parser.add_argument("--feff", action="store_true", help="real FEFF runs, protocol `fast`")
    options = parser.parse_args()
    makers: Mapping[str, object] = {synthetic.SLEEPING: synthetic.SleepingMaker}
    # Workers import `synthetic` by its name.
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent)
    with (
        tempfile.TemporaryDirectory() as home,
        mock.patch.dict(spectrum._SITE_MAKERS, makers),
    ):
        settings = load_settings(home=home, mongo_uri=None, trusted_jobs=synthetic.__name__)
        up(settings)
        try:
            campaign(settings, options)
        finally:
            down(settings)


if __name__ == "__main__":
    main()
