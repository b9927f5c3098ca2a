"""The process in which one FEFF calculation runs; started by `nearedge.codes.feff.run`.

It is run as a file and imports nothing of NearEdge, so that it starts in milliseconds. Its standard
input is a pipe that the parent holds open: when the parent dies, however it dies, the pipe ends and
this process ends its whole group, FEFF's stages included. (`PR_SET_PDEATHSIG` would not do: it
would end this process alone, and leave the stage that it started.)
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from pathlib import Path

import feff10

POLL_SECONDS = 0.5


def main(folder: str, stage_timeout: str, report_fd: str) -> None:
    """Run FEFF in `folder` and report on `report_fd`, a JSON object a line."""
    fd = int(report_fd)
    # The stages must not hold the pipe open: its end tells the parent that this process is gone.
    os.set_inheritable(fd, False)
    threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()

    def report(**message: str) -> None:
        os.write(fd, (json.dumps(message) + "\n").encode())

    def progress(stage: feff10.Stage, event: feff10.StageProgress) -> None:
        if event.kind == "starting":
            report(stage=stage.executable_name)

    deck = str(Path(folder) / "feff.inp")
    try:
        feff10.validate(deck)  # type: ignore[attr-defined]  # its stub forgets it
        config = feff10.FeffConfig.from_file(folder, deck, stage_timeout=float(stage_timeout))
        feff10.FeffPipeline(config).run_with_progress(progress)
    except (feff10.FeffParseError, feff10.FeffConfigError) as error:
        report(failed="input", message=str(error))
    except feff10.FeffError as error:
        report(failed="run", message=str(error))
    except OSError as error:
        report(failed="run", message=f"{error.strerror} (errno {error.errno})")
    else:
        report(done="yes")


def _follow_parent(parent: int) -> None:
    """End the group when the parent is gone.

    The parent's number is watched too: a process that the parent forked may hold the pipe open.
    """
    while os.getppid() == parent:
        ready, _, _ = select.select([0], [], [], POLL_SECONDS)
        if ready and not os.read(0, 1):
            break
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
