"""Texts of the input files of pw.x and xspectra.x.

Lightshow's ``XSpectraParameters`` serves with its cards (smearing, mixing, what is cut at the Fermi
level and how) and its estimator of k-meshes, and its ``es.in`` is written by the same class of
pymatgen as ours; a test compares the two. Its `write` does not serve: it makes the k-mesh of pw.x a
single point as soon as the cell is no primitive one; writes positions with six decimals, from which
pw.x no longer finds the symmetry; computes three polarisations whatever the symmetry, with integers
for their components; fixes a half width of 0.01 eV, which no Lanczos chain of usual length resolves
and a grid of 0.2 eV cannot show; and gives xspectra.x no ``x_save_file``, without which a new
broadening needs a new run.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from pymatgen.core import Structure
from pymatgen.io.pwscf import PWInput

from nearedge.codes.mesh import k_mesh as estimator
from nearedge.codes.protocols import Protocol
from nearedge.codes.xspectra.polarisation import Polarisation
from nearedge.compat import lightshow_parameters
from nearedge.spectra.spectrum import BOHR

SCRATCH = "scratch"
"""Where pw.x leaves density and wave functions for xspectra.x."""
SCF = "scf"
DEFAULT_NAME = "xanes.dat"
"""What xspectra.x calls every spectrum."""
POLARISATIONS = "polarisations.json"
_DECIMALS = 10

Value = bool | int | float | str
Namelist = dict[str, Value]


class _QECards(TypedDict):
    control: Namelist
    system: Namelist
    electrons: Namelist


class _XSCards(TypedDict):
    input_xspectra: Namelist
    plot: Namelist
    cut_occ: Namelist


class Cards(TypedDict):
    """Lightshow's cards, as far as they are used here."""

    QE: _QECards
    XS: _XSCards


@dataclass(frozen=True)
class Potentials:
    """The potentials of a deck.

    Parameters
    ----------
    species
        File name by kind of atom.
    core_wavefunction
        Its file.
    electrons
        Valence electrons in the cell.
    cutoff
        Ry; of the plane waves.
    paw_radius
        Bohr; see `nearedge.codes.xspectra.augmentation`.
    """

    species: dict[str, str]
    core_wavefunction: str
    electrons: float
    cutoff: float
    paw_radius: float


@dataclass(frozen=True)
class Files:
    """Names of the files of one polarisation, numbered from 1."""

    number: int

    @property
    def lanczos(self) -> str:
        """Input of the recursion."""
        return f"lanczos_{self.number}.in"

    @property
    def lanczos_log(self) -> str:
        """What the recursion prints."""
        return f"lanczos_{self.number}.out"

    @property
    def chain(self) -> str:
        """The recursion's coefficients (``x_save_file``), from which any broadening is made."""
        return f"xanes_{self.number}.sav"

    @property
    def plot(self) -> str:
        """Input of the spectrum."""
        return f"plot_{self.number}.in"

    @property
    def plot_log(self) -> str:
        """What the making of the spectrum prints."""
        return f"plot_{self.number}.out"

    @property
    def spectrum(self) -> str:
        """The spectrum; ``xanes.dat`` as xspectra.x calls it."""
        return f"xanes_{self.number}.dat"


def cards() -> Cards:
    """Return a copy of Lightshow's default cards, which its own class would change in place."""
    default: Cards = deepcopy(lightshow_parameters("xspectra").XSPECTRA_DEFAULT_CARDS)
    return default


def k_mesh(structure: Structure, radius: float) -> tuple[int, int, int]:
    """Return the Γ-centred mesh of an effective radius in Å, by Lightshow's estimator.

    A supercell gets fewer points. Axes that are equally long get equally many, which the estimator
    misses by the last bit at times.

    Raises
    ------
    InputRefused
        ``bad_setting``, if the radius is not one that the estimator can reach.
    """
    estimate = estimator(lightshow_parameters("xspectra"), radius / BOHR)
    mesh = np.array(estimate(structure))
    spacing = np.array(structure.lattice.reciprocal_lattice.abc)
    alike = np.isclose(spacing[:, None], spacing[None, :], rtol=1e-5)
    first, second, third = (int(mesh[row].max()) for row in alike)
    return first, second, third


def scf_text(cell: Structure, potentials: Potentials, protocol: Protocol) -> str:
    """Return pw.x's input; `cell` has the absorber first, an ion of charge one as its name."""
    system, electrons = cards()["QE"]["system"], cards()["QE"]["electrons"]
    cutoff = potentials.cutoff
    # Norm-conserving potentials: the density needs four times the cutoff and no more.
    system |= {"ecutwfc": cutoff, "ecutrho": 4 * cutoff, "degauss": protocol.number("smearing")}
    system |= {"tot_charge": protocol.number("charge")}
    system |= {"nbnd": _bands(potentials.electrons, protocol.number("extra_bands"))}
    electrons |= {"conv_thr": protocol.number("scf_threshold") * len(cell)}
    electrons |= {"mixing_beta": protocol.number("mixing")}
    electrons |= {"electron_maxstep": int(protocol.number("scf_iterations"))}
    control = {**cards()["QE"]["control"], "calculation": "scf", "prefix": "pwscf"}
    control |= {"pseudo_dir": "./", "outdir": f"./{SCRATCH}/"}
    deck = PWInput(  # type: ignore[no-untyped-call]
        cell,
        pseudo=potentials.species,
        control=control,
        system=system,
        electrons=electrons,
        kpoints_grid=k_mesh(cell, protocol.number("scf_k_radius")),
        format_options={"coord_decimals": _DECIMALS},
    )
    return f"{deck}\n"


def _bands(electrons: float, extra: float) -> int:
    return int(np.ceil(electrons / 2 * (1 + extra))) + 4


def safer_mixing(text: str) -> str:
    """Return pw.x's input with slower mixing that damps charge sloshing, and more iterations.

    A converged result does not depend on them (pw.x, &ELECTRONS: mixing_mode, mixing_beta).
    """
    lines = []
    for line in text.splitlines():
        name = line.partition("=")[0].strip()
        if name == "mixing_beta":
            value = float(line.partition("=")[2].strip(" ,").replace("d", "e"))
            lines.append(f"  mixing_beta = {value / 3:g},")
            lines.append("  mixing_mode = 'local-TF',")
        elif name == "electron_maxstep":
            lines.append(f"  electron_maxstep = {3 * int(line.partition('=')[2].strip(' ,'))},")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def spectrum_texts(
    cell: Structure,
    potentials: Potentials,
    protocol: Protocol,
    polarisation: Polarisation,
    files: Files,
    width: float,
) -> tuple[str, str]:
    """Return xspectra.x's inputs for the recursion and for the spectrum of one polarisation.

    The recursion ends when a spectrum of the protocol's `lanczos_width` has converged, not one of
    the `width` (eV) that is asked for: the coefficients then are the same for every broadening.
    """
    number = protocol.number
    shared = cards()["XS"]
    absorber = str(cell[0].specie)
    run: Namelist = {
        "calculation": "xanes_dipole",
        "edge": "K",
        "prefix": "pwscf",
        "outdir": f"./{SCRATCH}/",
        "xiabs": sorted(potentials.species).index(absorber) + 1,
        "xcoordcrys": shared["input_xspectra"]["xcoordcrys"],
        "xniter": int(number("lanczos_iterations")),
        "xerror": number("lanczos_error"),
        "xcheck_conv": int(number("lanczos_check")),
        **{f"xepsilon({i})": x for i, x in enumerate(polarisation.direction, start=1)},
        "x_save_file": files.chain,
    }
    low, high = number("e_min"), number("e_max")
    plot: Namelist = {
        "xnepoint": round((high - low) / number("e_step")) + 1,
        "xemin": low,
        "xemax": high,
        "terminator": shared["plot"]["terminator"],
        "gamma_mode": "constant",
    }
    mesh = " ".join(str(n) for n in k_mesh(cell, number("spectrum_k_radius")))

    def text(only_plot: bool, cut: Value, fwhm: float) -> str:
        # xgamma is half the width at half maximum: measured, and in lanczos.f90 the imaginary part.
        own: Namelist = {"cut_occ_states": cut, "xgamma": fwhm / 2}
        lists: dict[str, Namelist] = {
            "input_xspectra": {**run, "xonly_plot": only_plot},
            "plot": {**plot, **own},
            "pseudos": {
                "filecore": potentials.core_wavefunction,
                "r_paw(1)": round(potentials.paw_radius, 6),
            },
            "cut_occ": {"cut_desmooth": number("cut_smoothing")},
        }
        return "\n".join(_namelist(name, values) for name, values in lists.items()) + (
            f"\n{mesh} 0 0 0\n"
        )

    return (
        text(False, False, number("lanczos_width")),
        text(True, shared["plot"]["cut_occ_states"], width),
    )


def _namelist(name: str, values: Namelist) -> str:
    rows = [f"  {key} = {_fortran(value)}" for key, value in values.items()]
    return "\n".join([f"&{name}", *rows, "/"])


def _fortran(value: Value) -> str:
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, str):
        # Lightshow has logical values as text.
        return value if value in {".true.", ".false."} else f"'{value}'"
    return f"{value:.10g}"
