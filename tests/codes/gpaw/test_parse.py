"""States become a spectrum: line shape, emptiness, absolute scale."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from xraydb import mu_elam

from nearedge.codes.gpaw import GPAW
from nearedge.codes.gpaw.parse import Header, Plan, Sticks, parse_sticks, site_spectrum
from nearedge.errors import CodeError
from nearedge.spectra.broadening import lorentzian
from nearedge.spectra.spectrum import BOHR, AbsorptionUnit

HEADER = Header(
    gpaw="22.8.0",
    input="",
    fermi_energy=4.0,
    total_energy=-1.0,
    ground_energy=None,
    scf_iterations=9,
    irreducible_k_points=1,
    bands=9,
    plane_waves=99,
    complete_to=99.0,
    cpu_seconds=1.0,
)
PLAN = Plan(
    absorber="Ti",
    edge="K",
    edge_energy=4966.0,
    lorentzian_width=1.0,
    e_min=-10.0,
    e_max=45.0,
    e_step=0.05,
)


def one_state(strengths: tuple[float, float, float], emptiness: float = 1.0) -> Sticks:
    return Sticks(HEADER, np.array([14.0]), np.array([emptiness]), np.array([strengths]))


def test_one_state_is_a_lorentzian_at_its_energy_above_the_fermi_level() -> None:
    spectrum = site_spectrum(one_state((0.3, 0.0, 0.0)), PLAN)
    peak = int(np.argmax(spectrum.absorption))
    assert spectrum.energy[peak] == pytest.approx(10.0, abs=0.051)
    half = spectrum.energy[spectrum.absorption > spectrum.absorption[peak] / 2]
    assert np.ptp(half) == pytest.approx(1.0, abs=0.1)
    # 4 pi^2 alpha E times the squared element: both spins, 1/3 of angle, mean of three axes.
    height = 4 * np.pi**2 / 137.035999 * 4976.0 * (2 * 0.3 / 9) * BOHR**2 * 2 / np.pi
    assert spectrum.absorption[peak] == pytest.approx(height, rel=1e-6)
    assert spectrum.unit is AbsorptionUnit.ANGSTROM2


def test_the_isotropic_spectrum_is_the_mean_of_the_polarisations() -> None:
    along = [site_spectrum(one_state(tuple(row)), PLAN).absorption for row in np.eye(3) * 0.7]  # type: ignore[arg-type]
    together = site_spectrum(one_state((0.7, 0.7, 0.7)), PLAN).absorption
    assert np.allclose(np.sum(along, axis=0), together)


def test_a_state_that_is_partly_filled_absorbs_in_proportion() -> None:
    full = site_spectrum(one_state((1, 1, 1)), PLAN).absorption
    half = site_spectrum(one_state((1, 1, 1), emptiness=0.5), PLAN).absorption
    assert np.allclose(half, full / 2)


def test_bands_that_end_inside_the_range_are_named() -> None:
    short = replace(one_state((1, 1, 1)), header=HEADER.model_copy(update={"complete_to": 40.0}))
    with pytest.raises(CodeError, match=r"reach 36\.0 eV") as failed:
        site_spectrum(short, PLAN)
    assert failed.value.name == "too_few_bands"


def test_no_transition_at_all_is_no_spectrum() -> None:
    with pytest.raises(CodeError) as failed:
        site_spectrum(one_state((0.0, 0.0, 0.0)), PLAN)
    assert failed.value.name == "output_implausible"


@pytest.mark.parametrize(("case", "element", "mass"), [("anatase", "Ti", 47.867)])
def test_the_cross_section_is_that_of_the_tables(
    recorded: Path, case: str, element: str, mass: float
) -> None:
    """Far above the edge a crystal's atoms absorb as free ones: Elam's tables, within 20 %."""
    result = GPAW.read(recorded / case)
    step = mu_elam(element, 5000.0) - mu_elam(element, 4960.0)
    tabulated = step * mass / 6.02214076e23 * 1e16
    above = result.spectrum.energy - (result.energy_reference.edge_energy or 0.0)
    far = (above > 20) & (above < 40)
    assert result.spectrum.absorption[far].mean() == pytest.approx(tabulated, rel=0.2)


def test_states_broadened_anew_agree_with_a_spectrum_broadened_further(
    recorded: Path,
    changed_plan: Callable[..., Path],
) -> None:
    """Widths of Lorentzians add: two ways to 2 eV."""
    natural = GPAW.read(recorded / "anatase")
    wide = GPAW.read(changed_plan("anatase", lorentzian_width=2.0))
    further = lorentzian(natural.spectrum, 2.0 - natural.broadening[0].width)
    above = wide.spectrum.energy - (wide.energy_reference.edge_energy or 0.0)
    inside = (above > 0) & (above < 35)
    difference = np.abs(wide.spectrum.absorption - further.absorption)[inside]
    assert difference.max() < 0.02 * wide.spectrum.absorption.max()
    assert wide.broadening[0].width == 2.0


def test_a_result_says_what_followed_from_the_structure(recorded: Path) -> None:
    result = GPAW.read(recorded / "anatase")
    assert result.energy_reference.kind == "absolute"
    assert result.energy_reference.fermi_energy == result.results["fermi_energy"].value
    assert result.results["cell_atoms"].value == 6
    assert result.code_version == "22.8.0"
    assert result.broadening[0].width == 0.94


def test_photon_energies_are_differences_of_total_energies(recorded: Path) -> None:
    """Diamond absorbs from 289 eV on (Morar et al., Phys. Rev. Lett. 54, 1960 (1985)).

    GPAW puts it 5 eV higher: in the two-atom cell recorded here every second atom has a hole.
    """
    result = GPAW.read(recorded / "diamond")
    header = parse_sticks((recorded / "diamond" / "sticks.txt").read_text()).header
    assert header.ground_energy is not None
    assert result.energy_reference.edge_energy == pytest.approx(
        header.total_energy - header.ground_energy + header.fermi_energy
    )
    absorbing = result.spectrum.absorption > 0.1 * result.spectrum.absorption.max()
    assert result.spectrum.energy[absorbing][0] == pytest.approx(289.0, abs=7.0)


def test_without_a_ground_state_energies_count_from_the_fermi_level(recorded: Path) -> None:
    relative, absolute = (GPAW.read(recorded / each) for each in ("no_ground_state", "diamond"))
    assert relative.energy_reference.kind == "fermi"
    assert relative.energy_reference.edge_energy is None
    edge = absolute.energy_reference.edge_energy or 0.0
    assert np.allclose(relative.spectrum.energy + edge, absolute.spectrum.energy)
    peak = absolute.spectrum.absorption.max()
    assert np.abs(relative.spectrum.absorption - absolute.spectrum.absorption).max() < 1e-3 * peak


def test_a_negative_strength_is_not_gpaws(recorded: Path) -> None:
    header, comment, first, *rest = (recorded / "diamond" / "sticks.txt").read_text().splitlines()
    wrong = "\n".join([header, comment, first.replace(" ", " -", 1), *rest])
    with pytest.raises(CodeError) as failed:
        parse_sticks(wrong)
    assert failed.value.name == "output_foreign"


def test_a_header_that_is_no_number_is_not_gpaws(recorded: Path) -> None:
    text = (recorded / "diamond" / "sticks.txt").read_text()
    fermi = json.loads(text.splitlines()[0][1:])["fermi_energy"]
    with pytest.raises(CodeError) as failed:
        parse_sticks(text.replace(f"{fermi}", "NaN", 1))
    assert failed.value.name == "output_foreign"
