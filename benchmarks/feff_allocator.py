"""The speed-up of the four allocator variables: our wrapper against a plain ``feff10.run``.

Run with ``python benchmarks/feff_allocator.py``: CuI, SCF 3.2 Å and FMS 8 Å (87 atoms), about three
CPU minutes in all. The two are run in turns on the same machine, and CPU seconds are compared,
which other work disturbs least. The goal is 1.8 (1.0 would be no gain). The gain depends on the
size of the matrices: at the radii of `fast` there is next to none, from some 75 atoms on it is 1.5
to 2.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

from nearedge.codes import get_code
from nearedge.codes.feff.inputs import deck_text
from nearedge.codes.feff.parse import parse_xmu
from nearedge.codes.feff.run import ALLOCATOR, execute
from nearedge.codes.protocols import Setting, load_protocol

GOAL = 1.8
PLAIN = "import feff10, sys; feff10.run(sys.argv[1], sys.argv[2])"


def iodide_deck(scf: float, fms: float) -> str:
    # gamma-CuI, zinc blende: Keen, Hull, J. Phys. Condens. Matter 7 (1995) 5793
    crystal = Structure.from_spacegroup(
        "F-43m", Lattice.cubic(6.058), ["Cu", "I"], [[0, 0, 0], [0.25, 0.25, 0.25]]
    )
    fast = load_protocol("feff", "fast")
    changed: dict[str, Setting] = {"scf_radius": scf, "fms_radius": fms}
    return deck_text(crystal, 0, "K", replace(fast, settings={**fast.settings, **changed}))


def with_wrapper(deck: str, folder: Path) -> float:
    (folder / "feff.inp").write_text(deck)
    outcome = execute(folder, stage_timeout=3600)
    if not outcome.done:
        raise SystemExit(f"FEFF failed in stage {outcome.stage}: {outcome.message}")
    return outcome.cpu_seconds


def plain(deck: str, folder: Path) -> float:
    (folder / "feff.inp").write_text(deck)
    environment = {k: v for k, v in os.environ.items() if k not in ALLOCATOR}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", PLAIN, str(folder / "feff.inp"), str(folder)],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(scf: float, fms: float, rounds: int) -> dict[str, float]:
    deck = iodide_deck(scf, fms)
    seconds: dict[str, list[float]] = {"plain": [], "wrapper": []}
    spectra = {}
    for _ in range(rounds):
        for name, run in (("plain", plain), ("wrapper", with_wrapper)):
            with tempfile.TemporaryDirectory() as folder:
                seconds[name].append(run(deck, Path(folder)))
                spectra[name] = parse_xmu((Path(folder) / "xmu.dat").read_text()).absorption
    without, ours = min(seconds["plain"]), min(seconds["wrapper"])
    return {
        "scf_radius": scf,
        "fms_radius": fms,
        "rounds": rounds,
        "plain_cpu_seconds": round(without, 2),
        "wrapper_cpu_seconds": round(ours, 2),
        "ratio": round(without / ours, 3),
        "goal": GOAL,
        "largest_difference": float(np.abs(spectra["plain"] - spectra["wrapper"]).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scf", type=float, default=3.2, help="SCF radius in Å")
    parser.add_argument("--fms", type=float, default=8.0, help="FMS radius in Å")
    parser.add_argument("--rounds", type=int, default=1, help="the fastest of so many counts")
    options = parser.parse_args()
    print(get_code("feff").version(), file=sys.stderr)
    print(json.dumps(compare(options.scf, options.fms, options.rounds), indent=1))


if __name__ == "__main__":
    main()
