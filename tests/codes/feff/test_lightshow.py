"""Our `balanced` anatase against the FEFF spectrum that Lightshow publishes (arXiv:2211.04452)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

from nearedge.codes import get_code
from nearedge.spectra.alignment import align
from nearedge.spectra.spectrum import AbsorptionUnit, Spectrum


@pytest.mark.slow
@pytest.mark.integration
def test_anatase_is_the_spectrum_that_lightshow_publishes(shared, tmp_path: Path) -> None:
    structure = Structure.from_file(shared("data/ti_o/mp-390.poscar"))
    table = np.loadtxt(shared("data/anatase/anatase_theory_FEFF.txt"))
    reference = Spectrum(table[:, 0], table[:, 1], AbsorptionUnit.ARBITRARY)
    feff = get_code("feff")
    absorber = structure.indices_from_symbol("Ti")[0]
    inputs = feff.inputs(structure, absorber, "K", "balanced")
    found = align(feff.run(inputs, tmp_path / "run", stage_timeout=3600).spectrum, reference)
    print(found)
    # Measured: Pearson 0.9979, Spearman 0.982, -0.22 eV. The radii of the reference are not known,
    # and between radii the Fermi level moves by up to 0.8 eV.
    assert found.pearson > 0.997
    assert found.spearman > 0.975
    assert abs(found.shift) < 0.4
