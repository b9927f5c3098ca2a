"""From spectra to a benchmark's document."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.makers.compared import (
    Compared,
    Crystal,
    Entry,
    compared,
    computed_entry,
    reference_entry,
)
from nearedge.schemas import SpectrumDoc, SpectrumKind
from nearedge.schemas.benchmark import (
    BenchmarkColumn,
    BenchmarkDoc,
    BenchmarkSpectrum,
    ReferenceSpectrum,
)
from nearedge.schemas.spectrum import Contribution, EnergyReference
from nearedge.spectra.spectrum import AbsorptionUnit, Spectrum

COLUMNS = [
    BenchmarkColumn(label="feff", kind="code", code="feff", protocol="fast@1"),
    BenchmarkColumn(label="elk", kind="code", code="elk", protocol="fast@1"),
    BenchmarkColumn(label="exp", kind="reference"),
]


def edge(shift: float = 0.0, peak: float = 0.8) -> Spectrum:
    energy = np.linspace(4940, 5040, 500) + shift
    above = energy - shift - 4970
    absorption = 0.5 + np.arctan(above) / np.pi + peak * np.exp(-(((above - 9) / 3) ** 2))
    return Spectrum(energy, absorption - absorption[0])


def average(code: str, spectrum: Spectrum, state: str = "completed") -> SpectrumDoc:
    part = Contribution(
        calculation_id="c", absorbing_index=0, multiplicity=1, weight=1.0, state="stage_timeout"
    )
    return SpectrumDoc(
        spectrum_id=f"average of {code}",
        kind=SpectrumKind.AVERAGE,
        structure_key="key",
        structure_id="id",
        formula="TiO2",
        elements=["O", "Ti"],
        absorber="Ti",
        edge="K",
        code=code,
        code_version="1",
        protocol="fast@1",
        parameters_id="p",
        contributions=[part] if state == "incomplete" else [],
        covered=0.5 if state == "incomplete" else 1.0,
        state=state,  # type: ignore[arg-type]
        calculation_ids=["c"],
        energy=spectrum.energy.tolist(),
        absorption=spectrum.absorption.tolist(),
        unit=AbsorptionUnit.ARBITRARY,
        energy_reference=EnergyReference(kind="absolute"),
    )


def missing(column: str) -> Entry:
    return Entry(BenchmarkSpectrum(column=column, state="missing", message="not yet"))


def measured(structure: str) -> Entry:
    spectrum = edge(-4968.0)
    return reference_entry(
        ReferenceSpectrum(
            label="exp",
            structure=structure,
            source="exp.txt",
            energy=spectrum.energy.tolist(),
            absorption=spectrum.absorption.tolist(),
        )
    )


def crystal(name: str, *entries: Entry) -> Crystal:
    return Crystal(name, f"key of {name}", f"id of {name}", "TiO2", entries)


def two_structures(peak: float = 0.8, window: float = 35.0) -> Compared:
    whole = crystal(
        "rutile",
        computed_entry("feff", average("feff", edge())),
        computed_entry("elk", average("elk", edge(3.0, peak))),
        measured("rutile"),
    )
    half = crystal(
        "anatase",
        computed_entry("feff", average("feff", edge())),
        computed_entry("elk", average("elk", edge(), "incomplete")),
        missing("exp"),
    )
    return compared([whole, half], COLUMNS, absorber="Ti", edge="K", window=window, project="p")


def test_every_two_columns_are_compared_on_every_structure() -> None:
    document = two_structures().document
    rutile, anatase = document.structures
    assert [(p.first, p.second) for p in rutile.pairs] == [
        ("feff", "elk"),
        ("feff", "exp"),
        ("elk", "exp"),
    ]
    assert rutile.pairs[0].shift == pytest.approx(-3.0, abs=0.01)
    assert rutile.pairs[1].shift == pytest.approx(4968.0, abs=0.01)
    assert rutile.pairs[1].spearman == pytest.approx(1, abs=1e-9)
    assert anatase.pairs == []


def test_what_is_missing_is_there_with_its_reason_and_means_say_over_how_many() -> None:
    document = two_structures().document
    assert [(label, each.column, each.state) for label, each in document.missing] == [
        ("anatase", "elk", "incomplete"),
        ("anatase", "exp", "missing"),
    ]
    assert "covers 50% of the absorbers; the others are: stage_timeout" in (
        document.missing[0][1].message
    )
    assert [(mean.first, mean.second, mean.structures) for mean in document.means] == [
        ("feff", "elk", 1),
        ("feff", "exp", 1),
        ("elk", "exp", 1),
    ]
    assert document.means[0].spearman == document.structures[0].pairs[0].spearman


def test_means_are_means() -> None:
    crystals = [
        crystal(
            name,
            computed_entry("feff", average("feff", edge())),
            computed_entry("elk", average("elk", edge(shift, peak))),
            missing("exp"),
        )
        for name, shift, peak in (("a", 1.0, 0.8), ("b", 2.0, 0.3))
    ]
    document = compared(crystals, COLUMNS, absorber="Ti", edge="K", window=35).document
    (mean,) = document.means
    pairs = [structure.pairs[0] for structure in document.structures]
    assert mean.structures == 2
    assert mean.spearman == pytest.approx(np.mean([pair.spearman for pair in pairs]))
    assert mean.cosine == pytest.approx(np.mean([pair.cosine for pair in pairs]))
    assert mean.shift_range == pytest.approx(abs(pairs[0].shift - pairs[1].shift))  # type: ignore[operator]


def test_the_id_is_of_what_was_compared_and_how() -> None:
    identifier = two_structures().document.benchmark_id
    assert two_structures().document.benchmark_id == identifier
    assert two_structures(peak=0.7).document.benchmark_id != identifier
    assert two_structures(window=30).document.benchmark_id != identifier


def test_what_cannot_be_compared_says_why() -> None:
    short = Spectrum(edge().energy[:160], edge().absorption[:160])
    both = crystal(
        "rutile",
        computed_entry("feff", average("feff", edge())),
        computed_entry("elk", average("elk", short)),
        missing("exp"),
    )
    document = compared([both], COLUMNS, absorber="Ti", edge="K", window=35).document
    (pair,) = document.structures[0].pairs
    assert (pair.shift, pair.spearman) == (None, None)
    assert "half of the 35 eV" in str(pair.warning)
    assert document.means == []


def test_a_document_survives_the_database_form() -> None:
    document = two_structures().document
    assert BenchmarkDoc.from_mongo(document.to_mongo()) == document
    assert BenchmarkDoc.model_validate_json(document.model_dump_json()) == document
