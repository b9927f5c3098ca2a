"""Bad luck: a machine shows nobody another user's processes (`hidepid`), and two work one queue."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from nearedge.store.claims import Claims
from nearedge.store.connection import connect
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# A /proc of its own in a mount namespace of its own: that of the machine stays as it is. Before
# Linux 5.8 its option would be that of every /proc of these processes.
_HIDDEN = 'mount -t proc -o hidepid=2 proc /proc && HOME=/ exec setpriv {user} "$@"'
_NOBODY = "--reuid=65534 --regid=65534 --clear-groups"
_SEES = "import psutil, sys; sys.exit(psutil.pid_exists(int(sys.argv[1])))"


@pytest.fixture
def another_user(need: Callable[[object, str], None]) -> list[str]:
    """Return what a program is started under to be a user's who sees only his own processes."""
    need(os.geteuid() == 0, "only root can be another user")
    need(shutil.which("setpriv"), "setpriv is missing: apt install util-linux")
    release = tuple(int(each) for each in platform.release().split(".")[:2])
    need(release >= (5, 8), "hidepid belongs to one /proc alone since Linux 5.8")
    under = ["unshare", "--mount", "sh", "-c", _HIDDEN.format(user=_NOBODY), "sh"]
    done = subprocess.run([*under, sys.executable, "-c", ""], check=False, capture_output=True)
    need(done.returncode == 0, f"processes cannot be hidden here: {done.stderr.decode().strip()}")
    return under


def test_who_sees_no_process_of_another_user_gives_up_nobody_who_lives(
    site: Site, molecule: Molecule, another_user: list[str], tmp_path: Path
) -> None:
    mounted = Path("/proc/mounts").read_text()
    site.submit(molecule("CO"), "C")
    worker = site.start_worker()
    site.until(site.feff)
    process = psutil.Process(worker.pid)
    process.suspend()  # it gives no sign of life, and there is time for many looks
    sees = [*another_user, sys.executable, "-c", _SEES, str(worker.pid)]
    assert subprocess.run(sees, check=False).returncode == 0, "it is really hidden"
    said = tmp_path / "looks"
    looks = site.start_looking(said, site.reached(), another_user)
    assert looks.wait(120) == 0, said.read_text()
    assert [found for _, found in site.looked(said) if found] == []
    assert site.pad.launches.find_one({"given_up": {"$exists": True}}) is None
    assert len(Claims(connect(site.settings)).live()) == 1, "its claim is left as well"
    process.resume()
    assert worker.wait(120) == 0
    assert site.pad.launches.count_documents({}) == 2, "the site and the average ran once"
    site.check_complete()
    site.check_nothing_over()
    assert Path("/proc/mounts").read_text() == mounted
