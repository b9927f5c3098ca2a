"""Bad luck: a machine's clock is an hour slow or fast, or is set by an hour while work goes on.

A real clock, as far as a process can see one: the time of day that libc gives, and the moment that
the kernel says the machine started at.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from nearedge.launch.identity import WorkerIdentity
from nearedge.store.queries import CalculationQuery
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]
Shifted = Callable[..., list[str]]

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HOUR = 3600
_CLOCK = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int) syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += SECONDS;
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *where) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (where) *where = exact.tv_sec;
    return exact.tv_sec;
}
"""
_WORKER = "from nearedge.launch.worker import main; raise SystemExit(main([]))"


@pytest.fixture
def shifted(tmp_path: Path, need: Callable[[object, str], None]) -> Shifted:
    """Return what a program is started under to see another time of day, here or elsewhere."""
    need(shutil.which("gcc"), "a clock is made by gcc: apt install gcc")
    usable = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False)
    need(usable.returncode == 0, "another machine's clock can be made by root only")

    def under(seconds: int, *, elsewhere: bool) -> list[str]:
        source, library, stat = (tmp_path / f"clock{seconds}{end}" for end in (".c", ".so", ""))
        source.write_text(_CLOCK)
        build = ["gcc", "-shared", "-fPIC", f"-DSECONDS={seconds}", "-o", library, source]
        subprocess.run(build, check=True)
        now = Path("/proc/stat").read_text()
        booted = int(psutil.boot_time()) + seconds
        stat.write_text(re.sub(r"^btime \d+$", f"btime {booted}", now, flags=re.MULTILINE))
        # Processes that see each other by number are of one machine.
        machine = ["--pid", "--fork", "--mount-proc", "--kill-child"] if elsewhere else []
        start = f'mount --bind "{stat}" /proc/stat && LD_PRELOAD="{library}" exec "$@"'
        return ["unshare", "--mount", *machine, "sh", "-c", start, "sh"]

    return under


@pytest.mark.parametrize("seconds", [-HOUR, HOUR], ids=["slow", "fast"])
def test_a_worker_whose_clock_is_an_hour_off_is_left_alone_and_everything_is_there_once(
    site: Site, molecule: Molecule, shifted: Shifted, seconds: int
) -> None:
    site.submit(molecule("CO"), "C")
    worker = site.start(_WORKER, site.reached(), under=shifted(seconds, elsewhere=True))
    site.until(site.feff)
    launch = site.pad.launches.find_one({"state": "RUNNING"})
    identity = WorkerIdentity.parse(launch["fworker"]["name"])
    assert identity is not None
    assert not identity.here
    while worker.poll() is None:
        assert site.recover().total == 0, "it is alive"
        time.sleep(0.2)
    assert worker.returncode == 0
    (done,) = site.store.calculations(CalculationQuery())
    off = (done.created_at - datetime.now(UTC)).total_seconds()
    assert abs(off - seconds) < 600, "its clock was really off"
    site.check_complete()
    site.check_nothing_over()


@pytest.mark.parametrize("seconds", [-HOUR, HOUR], ids=["slow", "fast"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["clock set here", "another machine"])
def test_who_looks_with_a_clock_an_hour_off_gives_up_nobody_who_lives(
    site: Site, molecule: Molecule, shifted: Shifted, tmp_path: Path, elsewhere: bool, seconds: int
) -> None:
    """Looks alternate with those of the right clock: their times must not be compared."""
    site.submit(molecule("CO"), "C")
    worker = site.start_worker()
    site.until(site.feff)
    process = psutil.Process(worker.pid)
    process.suspend()  # it gives no sign of life, and there is time for many looks
    settings = site.reached() if elsewhere else site.settings
    said = {off: tmp_path / f"looks {off}" for off in (0, seconds)}
    looks = [
        site.start_looking(output, settings, shifted(off, elsewhere=elsewhere))
        for off, output in said.items()
    ]
    for off, each in zip(said, looks, strict=True):
        assert each.wait(120) == 0, said[off].read_text()
        for when, found in site.looked(said[off]):
            assert found == []
            assert abs(when - time.time() - off) < 600, "its clock was really off"
    assert site.pad.launches.find_one({"given_up": {"$exists": True}}) is None
    process.resume()
    assert worker.wait(120) == 0
    assert site.pad.launches.count_documents({}) == 2, "the site and the average ran once"
    site.check_complete()
    site.check_nothing_over()
