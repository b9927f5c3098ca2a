"""Bad luck: two clusters work one launchpad, and their Slurms give the same numbers to jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nearedge.launch.identity import WorkerIdentity
from nearedge.queue_settings import QueueSettings
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.conftest import Slurm
    from tests.faults.conftest import BatchQueue, Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = [pytest.mark.integration, pytest.mark.slow]

_QUEUE = """
from nearedge.cli.app import app
app(["queue", "--no-pilots", *{more!r}])
"""
_FOREVER = _QUEUE.format(more=["--max=1", "--interval=2", "--forever"])
_RECONCILE = "from nearedge.cli.app import app; app(['reconcile', '--json'])"


@pytest.fixture
def annex(slurm: Slurm, another_slurm: Callable[[Mapping[str, str]], Slurm]) -> Slurm:
    """Return a second cluster, whose next job gets the number that the first's next one gets."""
    last = int(slurm.ask("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true"))
    slurm.ask("scancel", str(last))
    return another_slurm({"ClusterName=lab": f"ClusterName=annex\nFirstJobId={last + 1}"})


def of(cluster: Slurm) -> list[str]:
    """Return what makes a program ask that cluster's Slurm."""
    return ["env", f"SLURM_CONF={cluster.conf}"]


def test_both_work_the_launchpad_and_nothing_runs_twice(
    site: Site, slurm: Slurm, annex: Slurm, batch: BatchQueue, molecule: Molecule, tmp_path: Path
) -> None:
    for name in ("CO", "OCO"):
        site.submit(molecule(name), "C")
    queues = [
        site.start(_FOREVER, batch.settings(), under=of(each), output=tmp_path / each.folder.name)
        for each in (slurm, annex)
    ]
    site.until(lambda: site.status().queue == {"COMPLETED": 4}, seconds=300)
    assert [each.poll() for each in queues] == [None, None]
    for each in queues:
        each.kill()
        each.wait()
    site.until(lambda: not slurm.ask("squeue", "--noheader") + annex.ask("squeue", "--noheader"))
    site.check_complete(2, 2)
    site.check_nothing_over()
    workers = [WorkerIdentity.parse(row["fworker"]["name"]) for row in site.pad.launches.find({})]
    sites = [row for row in site.pad.launches.find({}) if "given_up" not in row]
    assert len(sites) == len(workers) == 4, "each ran once, and none was given up"
    batches = {worker.batch for worker in workers if worker is not None}
    processes = {worker.pid for worker in workers if worker is not None}
    assert (len(batches), len(processes)) == (1, 2), "two jobs of the same number"


def test_what_one_reserved_the_other_leaves_alone(
    site: Site, slurm: Slurm, annex: Slurm, batch: BatchQueue, molecule: Molecule, tmp_path: Path
) -> None:
    site.submit(molecule("CO"), "C")
    settings = batch.settings()
    stated = settings.batch.model_dump(exclude_unset=True)
    held = QueueSettings.model_validate({"all": stated["all"] | {"options": ("--hold",)}})
    settings = settings.model_copy(update={"queue": held})
    there = site.start(_QUEUE.format(more=[]), settings, under=of(annex))
    assert there.wait(120) == 0
    (number,) = annex.states()
    mine = slurm.ask("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true")
    assert mine == number
    slurm.ask("scancel", mine)
    assert site.recover().total == 0, "the job of that number here is another"
    assert site.state() == "RESERVED"
    annex.ask("scancel", number)
    assert site.recover().total == 0, "only the annex can know"
    assert site.state() == "RESERVED"
    said = tmp_path / "said"
    assert site.start(_RECONCILE, under=of(annex), output=said).wait(120) in (0, 1)
    assert "pending_cancelled" in said.read_text()
    assert site.state() == "READY"
    assert site.run().completed == 2
    site.check_complete()
    site.check_nothing_over()
