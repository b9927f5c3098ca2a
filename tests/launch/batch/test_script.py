"""What would be submitted: one script for each scheduler, and no secret in any of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from nearedge.errors import LaunchError
from nearedge.launch.batch.kept_settings import keep_settings
from nearedge.launch.batch.script import Task, job_of
from nearedge.queue_settings import QueueSettings, Resources, SchedulerName
from nearedge.settings import Settings

PILOT = Task("feff", None, "tio2", "nearedge-feff")
ONE = Task("vasp", 12, None, "VASP mp-390 Ti0 K")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "a home",
        mongo_uri=SecretStr("mongodb://me:geheim@db.example/"),
        mp_api_key=SecretStr("schluessel"),
        vasp_command="srun vasp_std",
        queue=QueueSettings(scheduler="slurm", tries=5, max_jobs=3),
    )


def script(scheduler: SchedulerName, task: Task, settings: Settings, **options: object) -> str:
    job = job_of(task, scheduler, Resources.model_validate(options), settings)
    return str(job.get_script_str("a folder"))


def test_slurm_gets_what_the_settings_ask_for(settings: Settings) -> None:
    text = script(
        "slurm",
        ONE,
        settings,
        nodes=2,
        tasks=64,
        threads=2,
        memory="120G",
        walltime="1-00:00:00",
        partition="long",
        account="xas",
        qos="high",
        options=["--constraint=icelake"],
    )
    for line in (
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks=64",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --mem=120G",
        "#SBATCH --time=24:00:00",
        "#SBATCH --partition=long",
        "#SBATCH --account=xas",
        "#SBATCH --qos=high",
        "#SBATCH --no-requeue",
        "#SBATCH --constraint=icelake",
        "export OMP_NUM_THREADS=2",
    ):
        assert line in text.splitlines()
    (command,) = [line for line in text.splitlines() if line.startswith("exec ")]
    assert "one vasp --walltime 86400" in command
    assert command.endswith("--fw-id 12")


def test_pbs_gets_the_same_in_its_own_words(settings: Settings) -> None:
    text = script(
        "pbs",
        PILOT,
        settings,
        nodes=2,
        tasks=8,
        memory="16G",
        walltime=7200,
        partition="batch",
        account="xas",
        options=["-P beamtime"],
    )
    for line in (
        "#PBS -S /bin/bash",
        "#PBS -r n",
        "#PBS -l nodes=2:ppn=4",
        "#PBS -l walltime=02:00:00",
        "#PBS -q batch",
        "#PBS -A xas",
        "#PBS -N nearedge-feff",
        "#PBS -l mem=32gb",
        "#PBS -P beamtime",
    ):
        assert line in text.splitlines()
    assert "pilot feff --walltime 7200" in text
    assert "--project tio2 --workers 8" in text


def test_chunks_of_pbs_beat_nodes_and_memory_which_it_does_not_take_beside_them(
    settings: Settings,
) -> None:
    chunks = "-l select=2:ncpus=4:mem=16gb:mpiprocs=4"
    text = script("pbs", PILOT, settings, nodes=2, tasks=8, memory="16G", options=[chunks])
    asked = [line for line in text.splitlines() if line.startswith("#PBS -l")]
    assert asked == ["#PBS -l walltime=01:00:00", f"#PBS {chunks}"]


@pytest.mark.parametrize("scheduler", ["pbs", "sge"])
def test_a_name_begins_with_a_letter(settings: Settings, scheduler: SchedulerName) -> None:
    text = script(scheduler, Task("vasp", 12, None, "2H-MoS2 S0 K"), settings)
    assert " -N n2H-MoS2-S0-K\n" in text
    assert " -N FEFF-CO-C0-K-of\n" in script(
        scheduler, Task("feff", 1, None, "FEFF CO C0 K of a long name"), settings
    )


def test_sge_gets_the_same_in_its_own_words(settings: Settings) -> None:
    text = script(
        "sge", PILOT, settings, tasks=4, memory="10G", partition="all.q", parallel_environment="smp"
    )
    for line in (
        "#$ -q all.q",
        "#$ -N nearedge-feff",
        "#$ -S /bin/bash",
        "#$ -cwd",
        "#$ -r n",
        "#$ -l h_rt=01:00:00",
        "#$ -l h_vmem=2560M",
        "#$ -pe smp 4",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize("scheduler", ["slurm", "pbs", "sge"])
def test_directives_stand_before_the_first_command_and_bash_reads_the_script(
    settings: Settings, scheduler: SchedulerName, tmp_path: Path
) -> None:
    text = script(
        scheduler,
        ONE,
        settings,
        memory="1G",
        options=["--x" if scheduler == "slurm" else "-x y"],
        setup=["module load vasp"],
        environment={"PLACE": "it's $HOME"},
    )
    sign = {"slurm": "#SBATCH", "pbs": "#PBS", "sge": "#$"}[scheduler]
    lines = text.splitlines()
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(i < first_command for i, line in enumerate(lines) if line.startswith(sign))
    (folder,) = [line for line in lines if line.startswith("cd ")]
    assert folder.endswith("/a folder'")
    assert lines.index("module load vasp") < lines.index(folder)
    assert "$$" not in text
    path = tmp_path / "script.sh"
    path.write_text(text)
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    (line,) = [line for line in lines if line.startswith("export PLACE=")]
    said = subprocess.run(
        ["bash", "-c", f"{line}; printenv PLACE"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "it's $HOME\n"


def test_no_secret_is_in_a_script_and_only_its_owner_reads_the_settings(settings: Settings) -> None:
    text = script("slurm", PILOT, settings)
    assert "geheim" not in text
    assert "db.example" not in text
    path = keep_settings(settings)
    assert str(path) in text
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    kept = yaml.safe_load(path.read_text())
    assert kept["mongo_uri"] == "mongodb://me:geheim@db.example/"
    assert kept["vasp_command"] == "srun vasp_std"
    assert kept["home"] == str(settings.home)
    assert not {"mp_api_key", "webgui_password"} & set(kept)


def test_a_batch_job_reads_the_settings_it_was_submitted_with(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEAREDGE_CONFIG_FILE", str(keep_settings(settings)))
    for name in Settings.model_fields:
        monkeypatch.delenv(f"NEAREDGE_{name.upper()}", raising=False)
    there = Settings()
    for name in set(Settings.model_fields) - {"queue", "mp_api_key", "webgui_password"}:
        assert getattr(there, name) == getattr(settings, name), name
    # It puts lost work back too, and submits nothing.
    assert there.queue == QueueSettings(scheduler="slurm", tries=5)


@pytest.mark.parametrize(
    "where",
    [
        {"environment": {"NEAREDGE_MONGO_URI": "mongodb://a:b@c"}},
        {"setup": ["export NEAREDGE_MP_API_KEY=x"]},
        {"setup": ["export AWS_SECRET_ACCESS_KEY=x"]},
        {"environment": {"AWS_SESSION_TOKEN": "x"}},
    ],
)
def test_a_secret_in_the_section_is_refused(settings: Settings, where: dict[str, object]) -> None:
    with pytest.raises(LaunchError, match="must not stand in the section `queue`"):
        script("slurm", PILOT, settings, **where)


@pytest.mark.parametrize(
    ("scheduler", "options", "says"),
    [
        ("pbs", {"qos": "high"}, "qos is an option of Slurm"),
        ("sge", {"tasks": 4}, "parallel_environment"),
        ("sge", {"nodes": 2}, "slots, not nodes"),
    ],
)
def test_what_a_scheduler_does_not_have_is_refused(
    settings: Settings, scheduler: SchedulerName, options: dict[str, object], says: str
) -> None:
    with pytest.raises(LaunchError, match=says):
        script(scheduler, PILOT, settings, **options)
