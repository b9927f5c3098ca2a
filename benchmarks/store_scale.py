"""How fast the store answers with 1,000, 10,000 and 100,000 spectra in it, and what they take.

Run with ``python benchmarks/store_scale.py [--home FOLDER] [SPECTRA ...]``. The documents are as
large as those of real FEFF runs (see `synthetic`); they are written through `SpectraStore`, in
batches, as `nearedge ingest` writes. Given a folder, the store stays there, and grows on next time.

One line of JSON for each measurement: milliseconds by the clock, CPU milliseconds of the server,
and the machine's load. Percentiles are of as many different questions as `REPEATS` says.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import synthetic

from nearedge.cli.database_state import overview
from nearedge.codes.feff import FEFF
from nearedge.launch.fireworks import launchpad
from nearedge.launch.folders import disk_use
from nearedge.launch.progress import progress
from nearedge.makers.average import SiteShare, average_document
from nearedge.makers.documents import Site, completed_record, describe_site
from nearedge.schemas import SpectrumDoc, SpectrumKind, StructureDoc
from nearedge.settings import Settings, load_settings
from nearedge.store.lifecycle import down, up
from nearedge.store.queries import SpectrumQuery
from nearedge.store.records import Record
from nearedge.store.service import EmbeddedServer
from nearedge.store.spectra_store import SpectraStore

SIZES = (1_000, 10_000, 100_000)
REPEATS = 40
LONGEST = 6.0
"""Seconds after which a slow question is asked no more, and not at all of a larger store."""
PAGE = 50
STUDY = 50
"""Crystals of a small project."""
CAMPAIGN = 2000
"""Crystals of a large one."""
_BATCH = 100
_CODES = ("feff",) * 8 + ("xspectra", "vasp")


@dataclass(frozen=True)
class Written:
    """A crystal's documents."""

    records: list[Record]
    average: SpectrumDoc


class Templates:
    """One FEFF input set for each absorber; its title is made each site's own."""

    def __init__(self) -> None:
        self._sites: dict[str, Site] = {}

    def site(self, document: StructureDoc, absorber: str, index: int, code: str) -> Site:
        if absorber not in self._sites:
            self._sites[absorber] = describe_site(
                FEFF, document, index, 1, edge="K", protocol="fast"
            )
        template = self._sites[absorber]
        title = f"TITLE {document.source.label} site {index}\n"
        files = {name: title + text for name, text in template.inputs.files.items()}
        inputs = replace(template.inputs, files=files, code=code)
        return replace(template, structure=document, absorbing_index=index, inputs=inputs)


def written(number: int, templates: Templates) -> Written:
    """Return the documents of a crystal's sites and of their average."""
    loaded = synthetic.crystal(number)
    document = StructureDoc.from_structure(loaded.structure, loaded.source)
    absorber = synthetic.ABSORBERS[number % len(synthetic.ABSORBERS)]
    code = _CODES[number % len(_CODES)]
    records = []
    for index, site in enumerate(loaded.structure):
        if site.specie.symbol != absorber:
            continue
        described = templates.site(document, absorber, index, code)
        result = synthetic.noisy_result(1000 * number + index, 12.0)
        record = completed_record(described, result, project=_study(number), host="bench")
        for part in (record.calculation, record.spectrum):
            part.projects.append(_campaign(number))  # type: ignore[union-attr]
        records.append(record)
    shares = [
        SiteShare(
            calculation_id=record.calculation.calculation_id,
            parameters_id=record.calculation.parameters_id,
            absorbing_index=record.calculation.absorbing_index,
            multiplicity=1,
        )
        for record in records
    ]
    spectra = {r.calculation.calculation_id: r.spectrum for r in records if r.spectrum is not None}
    average = average_document(shares, spectra, {}, _study(number))
    average.projects.append(_campaign(number))
    return Written(records, average)


def _study(number: int) -> str:
    return f"study-{number // STUDY}"


def _campaign(number: int) -> str:
    return f"campaign-{number // CAMPAIGN}"


def crystals_of(store: SpectraStore) -> int:
    return store.database["structures"].estimated_document_count()


def grow(store: SpectraStore, spectra: int, cpu: Callable[[], float]) -> None:
    """Write crystals until there are so many spectra, and print what that cost."""
    templates = Templates()
    had = store.count(SpectrumQuery())
    client, server, wall = time.process_time(), cpu(), time.monotonic()
    number = crystals_of(store)
    while (now := store.count(SpectrumQuery())) < spectra:
        batch = [written(number + each, templates) for each in range(_BATCH)]
        store.record_many(record for each in batch for record in each.records)
        store.put_averages([each.average for each in batch])
        number += _BATCH
    if now == had:
        return
    each = 1000 / (now - had)
    tell(
        what="written",
        spectra=now,
        client_cpu_ms_each=round((time.process_time() - client) * each, 2),
        server_cpu_ms_each=round((cpu() - server) * each, 2),
        wall_ms_each=round((time.monotonic() - wall) * each, 2),
    )


Ask = Callable[[], object]


def questions(store: SpectraStore, settings: Settings, number: int) -> dict[str, Ask]:
    """Return what DESIGN.md lets users ask, by name, about crystal `number`."""
    loaded = synthetic.crystal(number)
    document = StructureDoc.from_structure(loaded.structure, loaded.source)
    absorber = synthetic.ABSORBERS[number % len(synthetic.ABSORBERS)]
    code = _CODES[number % len(_CODES)]
    site = SpectrumQuery(structure_key=document.structure_key, kind=SpectrumKind.SITE)
    (row, *_) = store.listing(site, limit=1)

    def page(**conditions: object) -> Ask:
        query = SpectrumQuery(**conditions)
        return lambda: store.listing(query, limit=PAGE)

    def export(**conditions: object) -> Ask:
        query = SpectrumQuery(**conditions)
        return lambda: list(store.spectra(query))

    average = SpectrumKind.AVERAGE
    return {
        "spectrum id": lambda: store.spectrum(row.spectrum_id),
        "calculation id": lambda: store.calculation(row.calculation_ids[0]),
        "structure id": page(structure_id=document.structure_id),
        "formula": page(formula=document.formula),
        "formula, averages": page(formula=document.formula, kind=average),
        "absorber, edge, code and formula": page(
            absorber=absorber, edge="K", code=code, formula=document.formula
        ),
        "chemical system": page(chemsys="-".join(document.elements)),
        "project of 200": page(project=_study(number)),
        "project of 200, averages": page(project=_study(number), kind=average),
        "project of 8,000": page(project=_campaign(number)),
        "absorber and edge": page(absorber=absorber, edge="K"),
        "absorber and edge, averages": page(absorber=absorber, edge="K", kind=average),
        "code": page(code=code),
        "averages": page(kind=average),
        "everything": page(),
        "export of a crystal": export(structure_key=document.structure_key),
        "export of a project of 200": export(project=_study(number)),
        "count of a project of 200": lambda: store.count(SpectrumQuery(project=_study(number))),
        "status": lambda: overview(settings),
        "progress": lambda: progress(launchpad(settings), store.database),
        "progress of a project of 200": lambda: progress(
            launchpad(settings), store.database, project=_study(number)
        ),
    }


def measure(
    store: SpectraStore, settings: Settings, cpu: Callable[[], float], slow: set[str]
) -> None:
    """Ask everything but what is slow about different crystals, and print the percentiles."""
    spectra, crystals = store.count(SpectrumQuery()), crystals_of(store)
    random = np.random.default_rng(1)
    times: dict[str, list[tuple[float, float]]] = {}
    for number in random.integers(crystals, size=REPEATS):
        for name, ask in questions(store, settings, int(number)).items():
            if name in slow:
                continue
            done = times.setdefault(name, [])
            if sum(seconds for seconds, _ in done) > LONGEST:
                continue
            server, wall = cpu(), time.perf_counter()
            ask()
            done.append((time.perf_counter() - wall, cpu() - server))
    for name, done in times.items():
        walls = [1000 * wall for wall, _ in done]
        if max(walls) > 1000 * LONGEST:
            slow.add(name)
        tell(
            what=name,
            spectra=spectra,
            median_ms=round(float(np.median(walls)), 1),
            p95_ms=round(float(np.percentile(walls, 95)), 1),
            server_cpu_ms=round(1000 * float(np.mean([server for _, server in done])), 1),
            asked=len(done),
            load=round(os.getloadavg()[0], 1),
        )


def tell_disk(store: SpectraStore, settings: Settings) -> None:
    spectra = store.count(SpectrumQuery())
    used = disk_use(settings, store.database).database or 0
    tell(what="disk", spectra=spectra, kB_each=round(used / spectra / 1000, 2))


def tell(**figures: object) -> None:
    print(json.dumps(figures), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="numbers of spectra")
    parser.add_argument("--home", type=Path, help="folder in which the store stays")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        settings = load_settings(home=options.home or temporary, mongo_uri=None)
        up(settings)
        try:
            store = SpectraStore.from_settings(settings)
            process = psutil.Process(EmbeddedServer(settings).status().pid)

            def cpu() -> float:
                times = process.cpu_times()
                return float(times.user + times.system)

            slow: set[str] = set()
            for size in options.sizes:
                grow(store, size, cpu)
                tell_disk(store, settings)
                tell(what="server memory", MB=round(process.memory_info().rss / 2**20))
                measure(store, settings, cpu, slow)
        finally:
            down(settings)


if __name__ == "__main__":
    main()
