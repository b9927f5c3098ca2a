from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nearedge.errors import SpectrumError
from nearedge.spectra.grid import OMNIXAS_ONSETS, Grid, omnixas_grid, to_grid
from nearedge.spectra.spectrum import AbsorptionUnit, Spectrum


def line() -> Spectrum:
    return Spectrum(np.array([10.0, 11.0, 13.0, 20.0]), np.array([1.0, 2.0, 0.0, 7.0]))


def test_a_grid_has_its_points_in_order() -> None:
    grid = Grid(start=-1.0, step=0.25, points=5)
    assert grid.energies == pytest.approx([-1, -0.75, -0.5, -0.25, 0])
    assert grid.stop == 0


@pytest.mark.parametrize(
    "numbers", [(0.0, 0.0, 5), (0.0, -1.0, 5), (np.nan, 1.0, 5), (0.0, np.inf, 5), (0.0, 1.0, 1)]
)
def test_numbers_that_make_no_grid_are_refused(numbers: tuple[float, float, int]) -> None:
    with pytest.raises(SpectrumError):
        Grid(*numbers)


def test_between_points_it_is_linear_and_beyond_the_ends_constant() -> None:
    values = to_grid(line(), Grid(8.0, 1.0, 14))
    assert values == pytest.approx([1, 1, 1, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 7])


def test_with_own_points_only_what_lies_beyond_the_last_is_constant() -> None:
    values = to_grid(line(), Grid(10.0, 1.0, 6), own_points_only=True)
    assert values == pytest.approx([1, 2, 1, 0, 0, 0])


@pytest.mark.parametrize("start", [-50.0, 100.0, 16.0])
def test_a_spectrum_elsewhere_is_refused_not_extrapolated(start: float) -> None:
    with pytest.raises(SpectrumError, match="less than half"):
        to_grid(line(), Grid(start, 1.0, 11))
    with pytest.raises(SpectrumError, match="less than half"):
        to_grid(line(), Grid(start, 1.0, 11), own_points_only=True)


def test_the_grids_of_omnixas_are_the_published_ones() -> None:
    grid = omnixas_grid("Cu")
    assert (grid.start, grid.step, grid.points) == (8983.173, 0.25, 141)
    assert grid.stop == pytest.approx(8983.173 + 35)
    assert list(OMNIXAS_ONSETS) == ["Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu"]
    with pytest.raises(SpectrumError, match="no grid for Zn"):
        omnixas_grid("Zn")


def test_the_authors_rows_come_out_of_their_feff_output(shared: Callable[[str], Path]) -> None:
    """Unit, grid and interpolation together, against the first rows the archive gives."""
    with np.load(shared("data/omnixas/Cu_FEFF_val.npz")) as published:
        rows = dict(zip(published["ids"].tolist(), published["y"], strict=True))
    compared = 0
    with tarfile.open(shared("data/omnixas/cu_feff_calculations.tar.xz"), "r|xz") as archive:
        for member in archive:
            parts = Path(member.name).parts
            if parts[-1] != "xmu.dat":
                continue
            row = rows.get(f"{parts[-4]}_{parts[-2].removesuffix('_Cu')}")
            stream = archive.extractfile(member)
            if row is None or stream is None:
                continue
            lines = stream.read().decode().splitlines()
            (step,) = (float(text.split()[-1]) for text in lines if "xsedge+" in text)
            table = np.array([text.split() for text in lines if "#" not in text], dtype=float)
            spectrum = Spectrum(table[:, 0], table[:, 3], normalization=step)
            cross_section = spectrum.to_unit(AbsorptionUnit.MILLIBOHR2)
            ours = to_grid(cross_section, omnixas_grid("Cu"), own_points_only=True)
            assert np.abs(ours - row).max() < 2e-7 * row.max()
            compared += 1
            if compared == 5:
                return
    pytest.fail(f"only {compared} published rows were found in the archive")
