"""Sites of rock salt whose spectra follow from the lattice parameter, to learn from in no time."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError
from nearedge.schemas import (
    COMPLETED,
    CalculationDoc,
    Parameter,
    SourceRef,
    SpectrumDoc,
    SpectrumKind,
    StructureDoc,
)
from nearedge.schemas.calculation import calculation_id, parameters_id
from nearedge.schemas.model import FeaturizerRef
from nearedge.schemas.spectrum import EnergyReference, site_spectrum_id
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray
from nearedge.store.queries import SpectrumQuery
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore

MATERIALS = 12
QUERY = SpectrumQuery(absorber="Cu")


class LatticeFeaturizer:
    """Three numbers a site, of which the lattice parameter decides the spectrum below."""

    ref = FeaturizerRef(name="lattice", weights_sha256=None, size=3)
    blocks: ClassVar[dict[str, int]] = {"lattice": 3}
    calls = 0

    def features(self, structure: Structure) -> FloatArray:
        type(self).calls += 1
        if "Po" in structure.symbol_set:
            raise ModelError("It does not know Po.")
        return np.array([[structure.lattice.a, site.specie.Z, 1.0] for site in structure])


def crystal(a: float, other: str = "O", absorber: str = "Cu") -> Structure:
    """Rock salt, written out: pymatgen takes a second to find it from the space group."""
    face_centred = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = np.concatenate([face_centred, face_centred + 0.5])
    return Structure(Lattice.cubic(a), [absorber] * 4 + [other] * 4, positions)


def record(
    material: str,
    a: float,
    other: str = "O",
    *,
    radius: float = 4.0,
    normalization: float | None = 2e-4,
    start: float = 8983.0,
    project: str = "copper",
    code: str = "feff",
    zero: float = 0.0,
    strange: float = 0.0,
    absorber: str = "Cu",
) -> Record:
    """A spectrum that rises at 8990 + a eV, a in Å, on an axis moved by `zero`."""
    structure = StructureDoc.from_structure(
        crystal(a, other, absorber), SourceRef(kind="file", label=material)
    )
    parameters = {"radius": Parameter(value=radius, unit="Å")}
    pid = parameters_id(code, "10", parameters)
    cid = calculation_id(structure.structure_key, absorber, 0, "K", pid)
    energy = start + 0.4 * np.arange(120)
    absorption = (
        1 / (1 + np.exp(-(energy - 8990 - a))) * (1 + 0.1 * np.sin((energy - 8990) * a / 9))
    )
    absorption += strange * np.exp(-((energy - 9000) ** 2))
    shared: dict[str, Any] = {
        "structure_key": structure.structure_key,
        "structure_id": structure.structure_id,
        "formula": structure.formula,
        "elements": structure.elements,
        "absorber": absorber,
        "edge": "K",
        "code": code,
        "code_version": "10",
        "protocol": "fast@1",
        "parameters_id": pid,
        "absorbing_index": 0,
        "projects": [project],
    }
    calculation = CalculationDoc(
        calculation_id=cid, parameters=parameters, state=COMPLETED, inputs={}, **shared
    )
    spectrum = SpectrumDoc(
        spectrum_id=site_spectrum_id(cid),
        kind=SpectrumKind.SITE,
        multiplicity=4,
        calculation_ids=[cid],
        energy=(energy + zero).tolist(),
        absorption=absorption.tolist(),
        unit=AbsorptionUnit.NORMALIZED,
        normalization=normalization,
        energy_reference=EnergyReference(
            kind="absolute", edge_energy=8990 + a + zero, fermi_energy=-a
        ),
        **shared,
    )
    return Record(calculation, spectrum, structure)


def keys(database: Any) -> list[str]:
    return sorted({row.structure_key for row in SpectraStore(database).listing(QUERY)})


def add(database: Any, *records: Record) -> None:
    SpectraStore(database).record_many(records)
