"""From a structure to a spectrum in Python: start the database, compute, ask, compare.

Run it with ``.venv/bin/python examples/submit_and_query.py``. It computes two spectra with FEFF the
first time, which takes a minute or two, and nothing the second time.
"""

from __future__ import annotations

from nearedge.launch.pool import run_workers
from nearedge.settings import get_settings
from nearedge.spectra.alignment import align
from nearedge.store import lifecycle
from nearedge.store.queries import SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.builtin import builtin_structures
from nearedge.workflows.campaign import submit

NAMES = ("rutile", "anatase")
PROJECT = "example"


def main() -> None:
    """Compute the Ti K edge of two forms of TiO2 and say how alike they are."""
    settings = get_settings()
    print(lifecycle.up(settings).detail)

    oxides = [loaded for loaded in builtin_structures() if loaded.source.label in NAMES]
    report = submit(oxides, absorber="Ti", protocol="fast", project=PROJECT)
    print(f"{report.new} sites to compute, {report.known} known already.")

    done = run_workers(settings.workers, settings)
    print(f"{done.completed} jobs completed, {done.failed} failed.")

    store = SpectraStore.from_settings(settings)
    query = SpectrumQuery(absorber="Ti", edge="K", kind="average", project=PROJECT)
    averages = list(store.spectra(query))
    structures = store.structures(average.structure_key for average in averages)
    names = [structures[average.structure_key].source.label for average in averages]
    for name, average in zip(names, averages, strict=True):
        peak = max(average.absorption)
        at = average.energy[average.absorption.index(peak)]
        print(f"{name}: {peak:.2f} at {at:.1f} eV, from {len(average.contributions)} site(s)")

    first, second = (average.to_spectrum() for average in averages)
    found = align(second, first)
    print(
        f"{names[1]} shifted by {found.shift:+.2f} eV onto {names[0]}: "
        f"Spearman {found.spearman:.3f} over the edge."
    )


if __name__ == "__main__":
    main()
