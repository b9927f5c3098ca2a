"""Make the recorded XSpectra runs of this folder again.

The potentials are left out: they are long, and ld1.x makes them anew.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pymatgen.core import Lattice, Structure

from nearedge.codes.xspectra import XSPECTRA
from nearedge.errors import CodeError
from nearedge.structures.builtin import builtin_structure

HERE = Path(__file__).parent
# A coarse mesh, a broad recursion and few points, so that the files stay small.
SMALL = "scf_k_radius=2.0+spectrum_k_radius=2.0+lanczos_width=3.0+e_step=0.5"
RUTILE = builtin_structure("rutile").structure
# No material, but small and of low symmetry: two polarisations.
OBLIQUE = Structure(Lattice.monoclinic(2.9, 3.1, 2.8, 100), ["Ti", "O"], [[0, 0, 0], [0.5] * 3])
CASES = {
    "rutile": (RUTILE, f"fast@1+cutoff=40.0+{SMALL}"),
    "oblique": (OBLIQUE, f"fast@1+cutoff=30.0+{SMALL}"),
    "scf_not_converged": (OBLIQUE, f"fast@1+cutoff=30.0+scf_iterations=1+{SMALL}"),
}
LEFT_OUT = {".UPF", ".wfc", ".upf"}


def record(case: str, crystal: Structure, protocol: str) -> None:
    inputs = XSPECTRA.inputs(crystal, 0, "K", protocol)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / case
        try:
            XSPECTRA.run(inputs, folder, stage_timeout=600.0)
        except CodeError as error:
            print(case, error.name)
        shutil.rmtree(HERE / case, ignore_errors=True)
        (HERE / case).mkdir()
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.suffix not in LEFT_OUT:
                shutil.copy(path, HERE / case / path.name)


if __name__ == "__main__":
    for case, (structure, protocol) in CASES.items():
        record(case, structure, protocol)
