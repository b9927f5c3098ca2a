"""The process in which one FEFF calculation runs; started by `nearedge.codes.feff.run`.

It is run as a file and imports nothing of NearEdge, so that it starts in milliseconds, under
`nearedge.codes.execution.supervisor`, which sees that neither it nor a stage of it outlives
NearEdge.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import feff10

STAGES = (
    *("rdinp", "atomic", "pot", "screen", "xsph"),
    *("fms", "mkgtr", "path", "genfmt", "ff2x"),
)
"""Those that an absorption spectrum takes: output is the same as of all eighteen. The others end at
once, but each costs a tenth of a CPU second to start."""


def main(folder: str, stage_timeout: str, report_fd: str) -> None:
    """Run FEFF in `folder` and report on `report_fd`, a JSON object a line."""
    fd = int(report_fd)
    # The stages must not hold the pipe open: its end tells the parent that this process is gone.
    os.set_inheritable(fd, False)

    def report(**message: str) -> None:
        os.write(fd, (json.dumps(message) + "\n").encode())

    def progress(stage: feff10.Stage, event: feff10.StageProgress) -> None:
        if event.kind == "starting":
            report(stage=stage.executable_name)

    deck = str(Path(folder) / "feff.inp")
    try:
        feff10.validate(deck)  # type: ignore[attr-defined]  # its stub forgets it
        config = feff10.FeffConfig.from_file(
            folder,
            deck,
            stages=[feff10.Stage.from_name(name) for name in STAGES],
            stage_timeout=float(stage_timeout),
        )
        feff10.FeffPipeline(config).run_with_progress(progress)
    except (feff10.FeffParseError, feff10.FeffConfigError) as error:
        report(failed="input", message=str(error))
    except feff10.FeffError as error:
        report(failed="run", message=str(error))
    except OSError as error:
        report(failed="run", message=f"{error.strerror} (errno {error.errno})")
    else:
        report(done="yes")


if __name__ == "__main__":
    main(*sys.argv[1:])
