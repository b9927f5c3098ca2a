"""What GPAW's own Python runs; `nearedge.codes.gpaw` writes it into the run folder as it stands.

It imports nothing of NearEdge and takes everything from ``gpaw.json``: first the density around the
core hole, then the unoccupied states up to the energy asked for, at the spectrum's own k-points.
It leaves the states and their matrix elements in ``sticks.txt``, its logs beside them, and
``failure.json`` where GPAW gave up.

    run_gpaw.py            all of it; makes the core-hole setup too where the folder has none
    run_gpaw.py --safer    the same with slower and steadier mixing of the density
    run_gpaw.py --setup    the core-hole setup alone
    run_gpaw.py --probe    prints GPAW's version and the elements that it has setups for
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import gpaw  # type: ignore[import-not-found]
import numpy as np
from ase import Atoms
from ase.units import Hartree
from gpaw import (
    GPAW,
    PW,
    FermiDirac,
    KohnShamConvergenceError,
    Mixer,
)
from gpaw.atom.gpaw_setup import main as gpaw_setup  # type: ignore[import-not-found]
from gpaw.xas import XAS  # type: ignore[import-not-found]

INPUT = "gpaw.json"
LOG = "gpaw.txt"
GROUND_LOG = "ground.txt"
STATES_LOG = "states.txt"
STICKS = "sticks.txt"
FAILURE = "failure.json"
OCCUPIED = 1e-4
"""States that are less empty than this take no electron and are left out."""
FULL_DIAGONALISATION = 2500
"""Plane waves up to which all states at once are cheaper than one after the other."""


def main(option: str | None = None) -> None:
    """Do what the command line asks for."""
    if option == "--probe":
        print(json.dumps(probe()))
        return
    asked = json.loads(Path(INPUT).read_text())
    if option == "--setup":
        make_setup(asked)
        return
    try:
        run(asked, safer=option == "--safer")
    except KohnShamConvergenceError:
        fail("scf_not_converged", f"no convergence in {asked['max_iterations']} iterations")
    except FileNotFoundError as error:
        fail("setup_failed", str(error))


def fail(name: str, message: str) -> None:
    """Leave word and end."""
    traceback.print_exc()
    Path(FAILURE).write_text(json.dumps({"name": name, "message": message}))
    sys.exit(1)


def probe() -> dict[str, Any]:
    """Return GPAW's version and the elements with a setup for PBE."""
    files = [path for folder in gpaw.setup_paths for path in Path(folder).glob("*.PBE.gz")]
    elements = sorted({path.name.split(".")[0] for path in files if path.name.count(".") == 2})
    return {"version": gpaw.__version__, "elements": elements}


def make_setup(asked: dict[str, Any]) -> None:
    """Make the core-hole setup of ``gpaw-setup`` in this folder."""
    hole = f"{asked['core_state']},{asked['removed']:g}"
    options = ["-f", asked["xc"], "--name", asked["setup"], "--core-hole", hole]
    arguments, sys.argv = sys.argv, ["gpaw-setup", *options, asked["symbols"][0]]
    try:
        gpaw_setup()
    finally:
        sys.argv = arguments


def run(asked: dict[str, Any], *, safer: bool) -> None:
    """Compute the states and write them."""
    gpaw.setup_paths.insert(0, ".")
    if not Path(f"{asked['symbols'][0]}.{asked['setup']}.{asked['xc']}").is_file():
        make_setup(asked)
    ground = None
    if asked["ground_state"]:
        ground = energy(converged_density(asked, safer, hole=False))
    density = converged_density(asked, safer, hole=True)
    try:
        states, bands = empty_states(asked, density)
    except KohnShamConvergenceError:
        fail("states_not_converged", f"no convergence in {asked['max_iterations']} iterations")
    write_sticks(asked, density, states, bands, ground)


def converged_density(asked: dict[str, Any], safer: bool, *, hole: bool) -> Any:
    """Return a calculator with the self-consistent density around the core hole, or without it."""
    atoms: Any = Atoms(
        asked["symbols"],
        cell=asked["cell"],
        scaled_positions=asked["scaled_positions"],
        pbc=True,
    )
    calculator = GPAW(
        # The full diagonalisation at the Gamma point alone wants complex wave functions too.
        mode=PW(asked["cutoff"], force_complex_dtype=True),
        xc=asked["xc"],
        kpts={"size": asked["scf_mesh"], "gamma": True},
        # The absorber comes first. By number, so that other atoms of its element stay whole.
        setups={0: asked["setup"]} if hole else {},
        charge=asked["charge"] if hole else 0,
        occupations=FermiDirac(asked["smearing"]),
        mixer=Mixer(asked["mixing"] / (4 if safer else 1), 5, 100 if safer else 50),
        maxiter=asked["max_iterations"] * (3 if safer else 1),
        convergence={"density": asked["density_convergence"]},
        txt=LOG if hole else GROUND_LOG,
    )
    atoms.calc = calculator
    atoms.get_potential_energy()
    return calculator


def energy(density: Any) -> float:
    """Return the energy of all electrons in eV, by which cells of different setups compare."""
    return float(density.get_potential_energy()) + float(density.get_reference_energy())


def empty_states(asked: dict[str, Any], density: Any) -> tuple[Any, int]:
    """Return a calculator with the lowest states at the spectrum's k-points, and how many are good.

    All at once by diagonalisation where the matrix is small, which is several times as fast there;
    by iteration otherwise, the matrix taking the third power of its size in time.
    """
    occupied = density.wfs.nvalence / 2
    bands = int(np.ceil(occupied + asked["empty_bands"]))
    mesh = {"size": asked["spectrum_mesh"], "gamma": True}
    if density.wfs.pd.ngmax > FULL_DIAGONALISATION:
        # The uppermost bands converge slowly and only make room for those below.
        spare = int(np.ceil(0.05 * bands)) + 2
        iterated = density.fixed_density(
            kpts=mesh,
            nbands=bands + spare,
            convergence={"bands": bands, "eigenstates": asked["state_convergence"]},
            maxiter=asked["max_iterations"],
            txt=STATES_LOG,
        )
        return iterated, bands
    states = density
    if asked["spectrum_mesh"] != asked["scf_mesh"]:
        states = density.fixed_density(
            kpts=mesh,
            # These states are thrown away for those of the diagonalisation: none need converge.
            convergence={"eigenstates": 1e6, "density": 1e6, "energy": 1e6, "bands": 1},
            txt=STATES_LOG,
        )
    bands = min(bands, int(states.wfs.pd.ngmin))
    states.diagonalize_full_hamiltonian(nbands=bands, expert=True)
    return states, bands


def write_sticks(
    asked: dict[str, Any], density: Any, states: Any, bands: int, ground: float | None
) -> None:
    """Write energies (eV), emptiness and squared matrix elements (bohr²) of the empty states."""
    # All states, each with its own emptiness: the mode "xas" counts the same number of occupied
    # bands at every k-point, which a metal does not have.
    energies, strengths = XAS(states, mode="all", center=0).get_spectra(stick=True)
    fermi = float(density.get_fermi_level())
    empty = 1.0 - 1.0 / (1.0 + np.exp(np.clip((energies - fermi) / asked["smearing"], -200, 200)))
    kpoints = states.wfs.kpt_u
    complete_to = min(float(kpt.eps_n[bands - 1]) for kpt in kpoints) * Hartree
    header = {
        "gpaw": gpaw.__version__,
        "input": hashlib.sha256(Path(INPUT).read_bytes()).hexdigest(),
        "fermi_energy": fermi,
        "total_energy": energy(density),
        "ground_energy": ground,
        "scf_iterations": int(density.get_number_of_iterations()),
        "irreducible_k_points": len(kpoints),
        "bands": bands,
        "plane_waves": int(states.wfs.pd.ngmax),
        "complete_to": complete_to,
        "cpu_seconds": round(time.process_time(), 2),
    }
    kept = np.flatnonzero((empty > OCCUPIED) & (energies <= complete_to))
    kept = kept[np.argsort(energies[kept], kind="stable")]
    rows = np.column_stack((energies, empty, strengths.T))[kept]
    lines = (f"{e:.4f} {f:.4f} {x:.4e} {y:.4e} {z:.4e}" for e, f, x, y, z in rows)
    text = "\n".join(
        (
            f"# {json.dumps(header)}",
            "# energy (eV), emptiness, squared matrix elements along x, y, z (bohr^2)",
            *lines,
            f"# end {len(rows)}",
        )
    )
    unfinished = Path(STICKS + ".part")
    unfinished.write_text(text + "\n")
    unfinished.replace(STICKS)


if __name__ == "__main__":
    main(*sys.argv[1:])
