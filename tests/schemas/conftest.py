"""Documents that the exchange formats are tried on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from nearedge.schemas import SpectrumDoc, StructureDoc
from nearedge.schemas.spectrum import Broadening, Contribution, EnergyReference
from nearedge.spectra.spectrum import AbsorptionUnit
from nearedge.structures.builtin import builtin_structure


@pytest.fixture(scope="session")
def structure() -> StructureDoc:
    loaded = builtin_structure("Cu4O3")
    return StructureDoc.from_structure(loaded.structure, loaded.source)


def fields(structure: StructureDoc) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    energy = 8980 + np.cumsum(rng.uniform(0.05, 1.5, 80))
    absorption = 0.5 + np.arctan(energy - 8990) / np.pi + 0.1 * rng.random(80)
    return {
        "structure_key": structure.structure_key,
        "structure_id": structure.structure_id,
        "formula": structure.formula,
        "elements": structure.elements,
        "absorber": "Cu",
        "edge": "K",
        "code": "feff",
        "code_version": "feff10-rs 0.2.4",
        "protocol": "fast@1",
        "parameters_id": "ab" * 16,
        "energy": energy.tolist(),
        "absorption": absorption.tolist(),
        "energy_reference": EnergyReference(
            kind="absolute", edge_energy=8988.123456789, fermi_energy=-8.1
        ),
        "broadening": [
            Broadening(kind="lorentzian", width=1.729, origin="core-hole lifetime, FEFF Gam_ch")
        ],
        "warnings": ['a "quoted" wärning:\nof two lines # --- and ///'],
        "projects": ["copper", "α"],
        "created_at": datetime(2024, 2, 29, 12, 34, 56, 789000, tzinfo=UTC),
    }


@pytest.fixture
def site(structure: StructureDoc) -> SpectrumDoc:
    return SpectrumDoc(
        spectrum_id="0f" * 16,
        kind="site",
        absorbing_index=8,
        multiplicity=8,
        calculation_ids=["aa" * 16],
        unit=AbsorptionUnit.NORMALIZED,
        normalization=2.4327e-4,
        **fields(structure),
    )


@pytest.fixture
def average(structure: StructureDoc) -> SpectrumDoc:
    contributions = [
        Contribution(
            calculation_id=f"{n:032x}",
            absorbing_index=n,
            multiplicity=2,
            weight=1 / 48,
            state="completed",
        )
        for n in range(48)
    ]
    return SpectrumDoc(
        spectrum_id="f0" * 16,
        kind="average",
        contributions=contributions,
        covered=0.75,
        state="incomplete",
        calculation_ids=[one.calculation_id for one in contributions],
        unit=AbsorptionUnit.MILLIBOHR2,
        **fields(structure),
    )
