"""Make the recorded GPAW runs of this folder again: ``python tests/recorded/gpaw/record.py``.

`diamond`, `anatase` and `no_ground_state` are finished runs, `scf_not_converged` is one that was
allowed two iterations and `too_few_bands` one with too few. Logs are left out, which name the
machine, and the core-hole setups, which ``run_gpaw.py`` makes.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from pymatgen.core import Lattice, Structure

from nearedge.codes.gpaw import GPAW
from nearedge.errors import CodeError
from nearedge.structures.builtin import builtin_structure

HERE = Path(__file__).parent
KEPT = ("gpaw.json", "spectrum.json", "sticks.txt")
KEPT_OF_FAILURES = ("gpaw.json", "spectrum.json", "failure.json")
DIAMOND = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]])
SMALL = "fast+cutoff=350+spectrum_k_radius=9"


def record(name: str, structure: Structure, protocol: str, kept: tuple[str, ...]) -> None:
    absorber = next(i for i, site in enumerate(structure) if site.specie.symbol in {"Ti", "C"})
    inputs = GPAW.inputs(structure, absorber, "K", protocol)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        with suppress(CodeError):
            GPAW.run(inputs, run, stage_timeout=3600.0)
        shutil.rmtree(HERE / name, ignore_errors=True)
        (HERE / name).mkdir()
        for file in kept:
            shutil.copy(run / file, HERE / name / file)


def main() -> None:
    record("diamond", DIAMOND, SMALL, KEPT)
    record("anatase", builtin_structure("anatase").structure, "fast", KEPT)
    record("scf_not_converged", DIAMOND, f"{SMALL}+max_iterations=2", KEPT_OF_FAILURES)
    record("no_ground_state", DIAMOND, f"{SMALL}+delta_kohn_sham=false", KEPT)
    record("too_few_bands", DIAMOND, f"{SMALL}+bands_factor=0.01", KEPT)


if __name__ == "__main__":
    main()
