"""What blobs cost in the database and in S3-compatible storage, and a database without them.

Run with ``python benchmarks/blob_storage.py [--spectra N] [--place s3://BUCKET/PREFIX --endpoint
URL]``. The documents are those of `store_scale`. One line of JSON for each measurement: CPU
milliseconds of this process and of the embedded server; not of the storage, which is yours.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import store_scale
from embedded import cpu_seconds, server_process

from nearedge.cli.database_state import make_ready
from nearedge.launch.folders import disk_use
from nearedge.settings import Settings, load_settings
from nearedge.store.lifecycle import down
from nearedge.store.spectra_store import SpectraStore

_BATCH = 100


def measure(settings: Settings, spectra: int) -> None:
    """Write spectra, then put and read their blobs alone, and print what that cost."""
    where = settings.blobs or "database"
    try:
        make_ready(settings)
        process = server_process(settings)
        cpu = partial(cpu_seconds, process)
        store = SpectraStore.from_settings(settings)
        store_scale.grow(store, spectra, cpu)
        count = store.database["blobs"].estimated_document_count()
        written = spectra_in(store)
        disk = disk_use(settings, store.database).database or 0
        store_scale.tell(
            what="stored",
            blobs_in=where,
            spectra=written,
            blobs=count,
            database_kb_each=round(disk / written / 1000, 1),
            server_mb=round(process.memory_info().rss / 2**20),
        )
        alone(store, where, cpu)
    finally:
        down(settings)


def timed(work: Callable[[], object], cpu: Callable[[], float]) -> store_scale.Times:
    own, server, wall = time.process_time(), cpu(), time.perf_counter()
    work()
    wall = time.perf_counter() - wall
    return store_scale.Times(wall, cpu() - server, time.process_time() - own)


def spectra_in(store: SpectraStore) -> int:
    return store.database["spectra"].estimated_document_count()


def alone(store: SpectraStore, where: str, cpu: Callable[[], float]) -> None:
    """Read all blobs, and put as many others of their size."""
    names = sorted(store.blobs.ids())
    costs: dict[str, store_scale.Times] = {}
    contents: dict[str, bytes] = {}

    def get() -> None:
        for start in range(0, len(names), _BATCH):
            contents.update(store.blobs.get_many(names[start : start + _BATCH]))

    def put() -> None:
        for content in others:
            store.blobs.put(content)

    costs["get"] = timed(get, cpu)
    others = [b"another " + content for content in contents.values()]
    costs["put"] = timed(put, cpu)
    for what, cost in costs.items():
        store_scale.tell(
            what=what,
            blobs_in=where,
            blobs=len(names),
            own_cpu_ms_each=round(1000 * cost.own / len(names), 2),
            server_cpu_ms_each=round(1000 * cost.server / len(names), 2),
            wall_ms_each=round(1000 * cost.wall / len(names), 2),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--spectra", type=int, default=2000)
    parser.add_argument("--place")
    parser.add_argument("--endpoint")
    options = parser.parse_args()
    places = [(None, None)] + ([(options.place, options.endpoint)] if options.place else [])
    for place, endpoint in places:
        with tempfile.TemporaryDirectory() as home:
            measure(
                load_settings(
                    home=Path(home),
                    mongo_uri=None,
                    blobs=place,
                    blobs_endpoint=endpoint,
                    embedded_cache="256M",
                ),
                options.spectra,
            )


if __name__ == "__main__":
    main()
