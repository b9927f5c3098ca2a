"""Make the recorded FEFF outputs of this folder again."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from pymatgen.core import Lattice, Structure

from nearedge.codes import get_code
from nearedge.codes.feff.run import RUN_LOG, execute

HERE = Path(__file__).parent
KEPT = ("xmu.dat", "convergence.scf")
TAIL = 1500
POTENTIALS = "    0   22   Ti   -1   -1   0.0001   0\n    1    8   O    -1   -1   6        0"
AXES = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
DECK = """TITLE TiO6
CONTROL 1 1 1 1 1 1
COREHOLE RPA
S02 0
EXCHANGE 0 0.0 0.0 2
SCF 3.2 1 30 0.2 3
FMS 3.5 1
XANES 4 0.04 0.1
EDGE K
RPATH -1
EGRID
k_grid -1 0 0.04
k_grid 0 6 0.04

POTENTIALS
{potentials}

ATOMS
{atoms}
END
"""


def octahedron(bond: float) -> list[str]:
    rows = ["0.0 0.0 0.0 0 Ti"]
    return rows + [" ".join(f"{bond * u:.4f}" for u in axis) + " 1 O" for axis in AXES]


def deck(bond: float = 1.95, atoms: int = 7, potentials: str = POTENTIALS) -> str:
    return DECK.format(potentials=potentials, atoms="\n".join(octahedron(bond)[:atoms]))


def anatase() -> str:
    # Horn, Schwerdtfeger, Meagher, Z. Kristallogr. 136 (1972) 273
    crystal = Structure.from_spacegroup(
        "I4_1/amd", Lattice.tetragonal(3.7842, 9.5146), ["Ti", "O"], [[0, 0, 0], [0, 0, 0.2081]]
    )
    return get_code("feff").inputs(crystal, 0, "K", "fast").files["feff.inp"]


def far_kinds() -> str:
    rows = [
        POTENTIALS.splitlines()[0],
        *(f"    {i}   {6 + i}   X   -1   -1   1   0" for i in (1, 2, 3)),
    ]
    atoms = ["0.0 0.0 0.0 0 Ti", *(f"{2.0 * i} 1.0 0.0 {i} X" for i in (1, 2, 3))]
    return DECK.format(potentials="\n".join(rows), atoms="\n".join(atoms)).replace("3.2 1", "2.5 1")


CASES = {
    "octahedron": deck(),
    "anatase": anatase(),
    "unknown_edge": deck().replace("EDGE K", "EDGE P9"),
    "scf_not_converged": deck().replace("SCF 3.2 1 30", "SCF 3.2 1 2"),
    "isolated_absorber": deck(atoms=1, potentials=POTENTIALS.splitlines()[0]),
    "atoms_too_close": deck(bond=0.7),
    "unused_potential": deck(potentials=POTENTIALS + "\n    2   26   Fe   -1   -1   1        0"),
    "scf_mixing": deck().replace("30 0.2 3", "30 1.0 3"),
    "representative_atoms": far_kinds(),
    "disk_full": deck(),
    "timeout": anatase().replace("SCF 3.2", "SCF 6.0"),
}


def record(name: str, text: str) -> None:
    target = HERE / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    (target / "feff.inp").write_text(text)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "feff.inp").write_text(text)
        if name == "disk_full":
            (folder / "apot.bin").symlink_to("/dev/full")
        outcome = execute(folder, stage_timeout=1.0 if name == "timeout" else 600.0)
        if outcome.done:
            for kept in KEPT:
                shutil.copy(folder / kept, target / kept)
        for log in (folder / "log.dat", folder / "log1.dat", folder / RUN_LOG):
            if not log.is_file():
                continue
            tail = log.read_text(errors="replace")[-TAIL:].replace(str(folder), "RUN")
            if tail.strip():
                (target / log.name).write_text(tail)
        said = {"stage": outcome.stage, "message": outcome.message.replace(str(folder), "RUN")}
        (target / "outcome.json").write_text(json.dumps(said, indent=1) + "\n")
    print(name, said["stage"], said["message"][:80])


if __name__ == "__main__":
    for case, content in CASES.items():
        record(case, content)
