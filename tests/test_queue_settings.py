"""The section `queue` of the settings is checked when it is read, and says what may stand there."""

from __future__ import annotations

from pathlib import Path

import pytest

from nearedge.errors import SettingsError
from nearedge.launch.pool import worker_environment
from nearedge.queue_settings import QueueSettings
from nearedge.settings import Settings, load_settings


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "nearedge.yaml"
    monkeypatch.setenv("NEAREDGE_CONFIG_FILE", str(path))
    return path


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("24:00:00", 86400),
        ('"24:00:00"', 86400),
        ('"2-12:00:00"', 216000),
        ('"90:30"', 5430),
        ("900", 900),
    ],
)
def test_a_walltime_is_read_as_schedulers_write_it(
    config: Path, written: str, seconds: int
) -> None:
    config.write_text(f"queue: {{all: {{walltime: {written}}}}}\n")
    assert load_settings().batch.resources("vasp").walltime == seconds


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("{wallclock: 1}", "'queue.wallclock' is not known: queue takes scheduler, same_machine"),
        ("{all: {cores: 4}}", "'queue.all.cores' is not known: queue.all takes nodes, tasks"),
        ("{codes: {vasp: {mem: 4G}}}", "'queue.codes.vasp.mem' is not known: .* memory, walltime"),
        ("{codes: {feff: {pack: true}}}", "'queue.codes.feff.pack' is now called 'pilots'"),
        ("{all: {memory: 4}}", "queue.all.memory"),
        ("{all: {memory: 4000MB}}", "queue.all.memory"),
        ("{all: {walltime: soon}}", "queue.all.walltime"),
        ("{all: {partition: a b}}", "queue.all.partition"),
        ("{all: {partition: '$(reboot)'}}", "queue.all.partition"),
        ("{all: {setup: ['echo $$']}}", r"must be one line without \$\$"),
        ('{all: {setup: ["one\\ntwo"]}}', "must be one line"),
        ("{all: {environment: {A-B: 1}}}", "'A-B' is no name of a variable"),
        ("{scheduler: lsf}", "queue.scheduler"),
        ("{max_jobs: 0}", "queue.max_jobs"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(config: Path, section: str, says: str) -> None:
    config.write_text(f"queue: {section}\n")
    with pytest.raises(SettingsError, match=says):
        load_settings()


def test_a_code_beats_all_and_all_beats_what_is_usual() -> None:
    queue = QueueSettings.model_validate(
        {"all": {"partition": "batch", "tasks": 4}, "codes": {"feff": {"tasks": 8}}}
    )
    assert queue.resources("feff").tasks == 8
    assert queue.resources("vasp").tasks == 4
    assert queue.resources("feff").partition == queue.resources("vasp").partition == "batch"
    assert queue.resources("feff").pilots
    assert not queue.resources("vasp").pilots
    assert QueueSettings().resources("feff").tasks == 2


def test_a_margin_that_leaves_no_time_is_refused() -> None:
    queue = QueueSettings.model_validate({"codes": {"feff": {"walltime": 200}}})
    with pytest.raises(SettingsError, match="walltime of 00:03:20 with a margin of 00:02:00"):
        queue.resources("feff")


def test_a_pilot_that_would_never_begin_a_run_is_refused() -> None:
    queue = QueueSettings.model_validate({"all": {"expected": "01:00:00"}})
    for name, pilots in (("feff", None), ("vasp", True)):
        with pytest.raises(SettingsError, match=f"queue, {name}: a pilot would never begin"):
            queue.resources(name, pilots)
    for name, pilots in (("feff", False), ("vasp", None), ("light", None)):
        queue.resources(name, pilots)
    long = QueueSettings.model_validate({"all": {"expected": 3600, "walltime": "01:10:00"}})
    assert long.resources("feff").pilots


def test_workers_are_given_the_section_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = QueueSettings.model_validate({"all": {"environment": {"A": 1}, "walltime": "10:00"}})
    for name, value in worker_environment(Settings(home=tmp_path, queue=queue)).items():
        if name.startswith("NEAREDGE_"):
            monkeypatch.setenv(name, value)
    assert load_settings().queue == queue
