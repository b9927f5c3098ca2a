"""What taking in the published Cu calculations costs: once, and again with nothing new.

Run with ``python benchmarks/ingest.py [ARCHIVE]``. It uses an embedded server of its own in a
temporary folder; CPU seconds of the client and of the server are given apart.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from embedded import cpu_seconds, server_process

from nearedge.makers.ingest import IngestSummary, ingest_path
from nearedge.settings import Settings, load_settings
from nearedge.store.lifecycle import down, up
from nearedge.store.spectra_store import SpectraStore

ARCHIVE = Path(__file__).resolve().parents[2] / "shared/data/omnixas/cu_feff_calculations.tar.xz"


def measured(settings: Settings, work: Callable[[], IngestSummary]) -> dict[str, float | int]:
    process = server_process(settings)
    server, client, wall = cpu_seconds(process), time.process_time(), time.monotonic()
    summary = work()
    client, wall = time.process_time() - client, time.monotonic() - wall
    server = cpu_seconds(process) - server
    seen = summary.new + summary.known
    return {
        "new": summary.new,
        "known": summary.known,
        "bad": len(summary.bad),
        "client_cpu_s": round(client, 1),
        "server_cpu_s": round(server, 1),
        "wall_s": round(wall, 1),
        "calculations_per_cpu_s": round(seen / (client + server)),
    }


def main(archive: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings(home=home, mongo_uri=None)
        up(settings)
        try:
            store = SpectraStore.from_settings(settings)
            for turn in ("first", "again"):
                figures = measured(settings, lambda: ingest_path(archive, "feff", store, "bench"))
                print(json.dumps({"turn": turn, **figures}))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps({"client_peak_MB": round(peak)}))
        finally:
            down(settings)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ARCHIVE)
