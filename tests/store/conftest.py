"""Documents to store, made in microseconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nearedge.schemas.calculation import (
    COMPLETED,
    CalculationDoc,
    Failure,
    Parameter,
    calculation_id,
    parameters_id,
)
from nearedge.schemas.spectrum import (
    Contribution,
    EnergyReference,
    SpectrumDoc,
    SpectrumKind,
    average_spectrum_id,
    site_spectrum_id,
)
from nearedge.spectra.spectrum import AbsorptionUnit
from nearedge.store.records import Record

MakeRecord = Callable[..., Record]
MakeAverage = Callable[..., SpectrumDoc]

PARAMETERS = {"scf_radius": Parameter(value=3.2, unit="Å")}
PARAMETERS_ID = parameters_id("feff", "10", PARAMETERS)


def record(
    index: int = 0,
    *,
    state: str = COMPLETED,
    project: str | None = "titania",
    structure: str = "rutile",
    formula: str = "TiO2",
    elements: tuple[str, ...] = ("O", "Ti"),
    absorber: str = "Ti",
    points: int = 5,
    inputs: str = "TITLE rutile\n",
) -> Record:
    """Return a calculation of one site, with its spectrum if `state` says that it completed."""
    identifier = calculation_id(structure, absorber, index, "K", PARAMETERS_ID)
    shared = {
        "structure_key": structure,
        "structure_id": f"id of {formula}",
        "formula": formula,
        "elements": list(elements),
        "absorber": absorber,
        "edge": "K",
        "code": "feff",
        "code_version": "10",
        "protocol": "fast@1",
        "parameters_id": PARAMETERS_ID,
        "absorbing_index": index,
        "projects": [project] if project else [],
    }
    calculation = CalculationDoc(
        calculation_id=identifier,
        parameters=PARAMETERS,
        state=state,
        failure=None if state == COMPLETED else Failure(name=state, message="It did not converge."),
        inputs={"feff.inp": inputs},
        **shared,
    )
    if state != COMPLETED:
        return Record(calculation, None)
    spectrum = SpectrumDoc(
        spectrum_id=site_spectrum_id(identifier),
        kind=SpectrumKind.SITE,
        multiplicity=1,
        calculation_ids=[identifier],
        energy=[4966.0 + 0.25 * point for point in range(points)],
        absorption=[0.125 * point + index for point in range(points)],
        unit=AbsorptionUnit.NORMALIZED,
        energy_reference=EnergyReference(kind="absolute", edge_energy=4966.5),
        **shared,
    )
    return Record(calculation, spectrum)


def average(*records: Record, sites: int = 2) -> SpectrumDoc:
    """Return the average over the completed ones of `records`, of `sites` sites in all."""
    done = [r for r in records if r.spectrum is not None]
    first = done[0].calculation
    return SpectrumDoc(
        spectrum_id=average_spectrum_id(first.structure_key, first.absorber, "K", PARAMETERS_ID),
        kind=SpectrumKind.AVERAGE,
        structure_key=first.structure_key,
        structure_id=first.structure_id,
        formula=first.formula,
        elements=first.elements,
        absorber=first.absorber,
        edge="K",
        code="feff",
        code_version="10",
        protocol="fast@1",
        parameters_id=PARAMETERS_ID,
        contributions=[
            Contribution(
                calculation_id=r.calculation.calculation_id,
                absorbing_index=r.calculation.absorbing_index,
                multiplicity=1,
                weight=1 / len(done) if r.spectrum else 0.0,
                state=r.calculation.state,
            )
            for r in records
        ],
        covered=len(done) / sites,
        state="completed" if len(done) == sites else "incomplete",
        calculation_ids=[r.calculation.calculation_id for r in done],
        energy=[1.0, 2.0],
        absorption=[float(len(done)), 1.0],
        unit=AbsorptionUnit.NORMALIZED,
        energy_reference=EnergyReference(kind="absolute"),
        projects=["titania"],
    )


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """Return the function that makes a record."""
    return record


@pytest.fixture(scope="session")
def make_average() -> MakeAverage:
    """Return the function that makes an average."""
    return average
