"""A stand-in for `qsub`, `qstat` and `qdel` of PBS: no PBS, but it runs what is submitted.

``pbs_stand_in.py FOLDER COMMAND [ARGUMENTS]``, with its jobs in the folder. As PBS' manuals say,
the script is run by the shell that `-S` names, away from where it was submitted, with
``PBS_JOBID``; its output goes to the files that `-o` and `-e` name relative to where it was
submitted. While the folder holds a file ``hold``, nothing starts.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path


def qsub(jobs: Path, script: Path) -> None:
    """Keep the script, say the job's number, and run it in a process of its own."""
    number = 100 + len(list(jobs.glob("*.script")))
    kept = jobs / f"{number}.script"
    kept.write_text(script.read_text())
    folder = Path.cwd()
    print(f"{number}.head", flush=True)
    if os.fork() > 0:
        return
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for each in (0, 1, 2):
        os.dup2(nowhere, each)
    run(jobs, number, kept, folder)


def run(jobs: Path, number: int, script: Path, folder: Path) -> None:
    """Wait until the job may start, run it, and write down how it ended."""
    lines = [line for line in script.read_text().splitlines() if line.startswith("#PBS -")]
    asked = dict(shlex.split(line)[1:3] for line in lines)
    while (jobs / "hold").exists():
        time.sleep(0.1)
    begun = time.time()
    with open(folder / asked["-o"], "w") as output, open(folder / asked["-e"], "w") as errors:
        process = subprocess.Popen(
            [asked["-S"], script],
            cwd="/",
            stdout=output,
            stderr=errors,
            start_new_session=True,
            env=os.environ | {"PBS_JOBID": f"{number}.head", "PBS_O_WORKDIR": str(folder)},
        )
        (jobs / f"{number}.pid").write_text(str(process.pid))
        code = process.wait()
    used = time.strftime("%H:%M:%S", time.gmtime(time.time() - begun))
    status = code if code >= 0 else 256 - code  # by a signal
    ended = f"    resources_used.walltime = {used}\n    Exit_status = {status}"
    (jobs / f"{number}.ended").write_text(ended)


def qstat(jobs: Path, arguments: list[str]) -> None:
    """Say how jobs stand, as `qstat -x -f` does, or that none is counted."""
    if "-u" in arguments:
        print("Job ID   Username Queue Jobname SessID NDS TSK Memory Time  S Time")
        return
    for number in (each.split(".")[0] for each in arguments if not each.startswith("-")):
        ended = jobs / f"{number}.ended"
        runs = (jobs / f"{number}.pid").exists()
        print(f"Job Id: {number}.head\n    Job_Name = x")
        print(f"    job_state = {'F' if ended.exists() else 'R' if runs else 'Q'}")
        print(ended.read_text() if ended.exists() else "")


def qdel(jobs: Path, name: str) -> None:
    """Send SIGTERM to all of a job that runs, as PBS does first."""
    os.killpg(int((jobs / f"{name.partition('.')[0]}.pid").read_text()), signal.SIGTERM)


def main() -> None:
    jobs, command, *arguments = sys.argv[1:]
    if command == "qsub":
        qsub(Path(jobs), Path(arguments[0]))
    elif command == "qstat":
        qstat(Path(jobs), arguments)
    else:
        qdel(Path(jobs), arguments[0])


if __name__ == "__main__":
    main()
