"""How fast the store answers with 1,000, 10,000 and 100,000 spectra in it, and what they take.

Run with ``python benchmarks/store_scale.py [--home FOLDER] [SPECTRA ...]``. The documents are as
large as those of real FEFF runs (see `synthetic`); they are written through `SpectraStore`, in
batches, as `nearedge ingest` writes. Given a folder, the store stays there, and grows on next time.

One line of JSON for each measurement: milliseconds by the clock, CPU milliseconds of the server and
of this process, and the machine's load. Percentiles are of questions about as many crystals as
`REPEATS` says, which are as many different ones where there are so many (there are eight absorbers
and three codes).
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
from typing import NamedTuple

import numpy as np
import synthetic
from embedded import server_process
from pymatgen.core.periodic_table import Element

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
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore

SIZES = (1_000, 10_000, 100_000)
REPEATS = 40
LONGEST = 6.0
"""CPU seconds after which a question is asked no more, and one alone not of a larger store."""
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


class Times(NamedTuple):
    """What a question took, in seconds: by the clock, and of the server's and this CPU time."""

    wall: float
    server: float
    own: float


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

    def calculations(**conditions: object) -> Ask:
        query = CalculationQuery(**conditions)
        return lambda: list(store.calculations(query, limit=PAGE))

    average = SpectrumKind.AVERAGE
    study, campaign = _study(number), _campaign(number)
    heaviest = max(document.elements, key=lambda symbol: Element(symbol).Z)
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
        "all elements of a crystal": page(elements=document.elements),
        "an element": page(elements=[heaviest]),
        "project of 200": page(project=study),
        "project of 200, averages": page(project=study, kind=average),
        "project of 8,000": page(project=campaign),
        "project of 8,000, absorber": page(project=campaign, absorber=absorber),
        "project of 8,000, absorber, averages": page(
            project=campaign, absorber=absorber, kind=average
        ),
        "project of 8,000, code, averages": page(project=campaign, code=code, kind=average),
        "absorber and edge": page(absorber=absorber, edge="K"),
        "absorber and edge, averages": page(absorber=absorber, edge="K", kind=average),
        "absorber, edge and code": page(absorber=absorber, edge="K", code=code),
        "absorber, edge, code, averages": page(
            absorber=absorber, edge="K", code=code, kind=average
        ),
        "code": page(code=code),
        "code, averages": page(code=code, kind=average),
        "averages": page(kind=average),
        "incomplete averages (none)": page(state="incomplete"),
        "everything": page(),
        "everything, 1,000 rows on": lambda: store.listing(SpectrumQuery(), limit=PAGE, skip=1000),
        "calculations of a project of 200": calculations(project=study),
        "calculations of an absorber and code": calculations(absorber=absorber, code=code),
        "failed calculations (none)": calculations(state="scf_not_converged"),
        "export of a crystal": export(structure_key=document.structure_key),
        "export of a formula": export(formula=document.formula),
        "export of a project of 200": export(project=study),
        "plot of 60 of an absorber": lambda: list(
            store.spectra(SpectrumQuery(absorber=absorber), limit=60)
        ),
        "count of a project of 200": lambda: store.count(SpectrumQuery(project=study)),
        "count of a project of 8,000": lambda: store.count(SpectrumQuery(project=campaign)),
        "status": lambda: overview(settings),
        "progress": lambda: progress(launchpad(settings), store.database),
        "progress of a project of 200": lambda: progress(
            launchpad(settings), store.database, project=study
        ),
    }


def measure(
    store: SpectraStore, settings: Settings, cpu: Callable[[], float], slow: set[str]
) -> None:
    """Ask everything but what is slow about different crystals, and print the percentiles."""
    spectra, crystals = store.count(SpectrumQuery()), crystals_of(store)
    random = np.random.default_rng(1)
    times: dict[str, list[Times]] = {}
    for number in random.choice(crystals, size=min(REPEATS, crystals), replace=False):
        for name, ask in questions(store, settings, int(number)).items():
            if name in slow:
                continue
            done = times.setdefault(name, [])
            if sum(each.server + each.own for each in done) > LONGEST:
                continue
            own, server, wall = time.process_time(), cpu(), time.perf_counter()
            ask()
            wall = time.perf_counter() - wall
            done.append(Times(wall, cpu() - server, time.process_time() - own))
    for name, done in times.items():
        if max(each.server + each.own for each in done) > LONGEST:
            slow.add(name)
        tell(
            what=name,
            spectra=spectra,
            wall_ms=percentiles([each.wall for each in done]),
            server_cpu_ms=percentiles([each.server for each in done]),
            own_cpu_ms=percentiles([each.own for each in done]),
            asked=len(done),
            load=round(os.getloadavg()[0], 1),
        )


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return median and 95th percentile in milliseconds."""
    return {f"p{each}": round(1000 * float(np.percentile(seconds, each)), 1) for each in (50, 95)}


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
            process = server_process(settings)
            threads = Path(f"/proc/{process.pid}/task")

            def cpu() -> float:
                # Nanoseconds of each thread; the times that psutil tells are in hundredths.
                states = (path.read_text() for path in threads.glob("*/schedstat"))
                return sum(int(each.split()[0]) for each in states) / 1e9

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
