"""What a benchmark is about, and the workflow that ends with its document."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fireworks.core.launchpad import LaunchPad

from nearedge.codes.base import CodeResult
from nearedge.errors import CodeError, InputRefused, SpectrumError
from nearedge.makers.average import average_sites
from nearedge.makers.benchmark import compare_stored
from nearedge.makers.documents import completed_record, failed_record
from nearedge.schemas import StructureDoc
from nearedge.schemas.benchmark import ReferenceSpectrum
from nearedge.schemas.spectrum import EnergyReference
from nearedge.spectra.spectrum import Spectrum
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.benchmark import BenchmarkFlowMaker, code_columns, plan_benchmark
from nearedge.workflows.spectrum import SpectrumFlowMaker, plan_sites, shares

Molecule = Callable[[str], LoadedStructure]

BOTH = [("feff", "fast"), ("feff", "balanced")]


def edge(shift: float = 0.0) -> Spectrum:
    energy = np.linspace(250, 350, 500) + shift
    above = energy - shift - 280
    absorption = 0.5 + np.arctan(above) / np.pi + 0.8 * np.exp(-(((above - 9) / 3) ** 2))
    return Spectrum(energy, absorption - absorption[0])


def compute(
    store: SpectraStore,
    loaded: LoadedStructure,
    protocol: str,
    *,
    fail: int = 0,
    shift: float = 0.0,
) -> None:
    """Record what running the queue would: the first `fail` sites fail by name."""
    document = StructureDoc.from_structure(loaded.structure, loaded.source)
    maker = SpectrumFlowMaker.for_code("feff", protocol=protocol).site_maker
    sites = plan_sites(maker, document, "C", "K")
    result = CodeResult(edge(shift), EnergyReference(kind="absolute"), [])
    for number, site in enumerate(sites):
        if number < fail:
            store.record(*failed_record(site, CodeError("stage_failed", "It stopped.")))
        else:
            store.record(*completed_record(site, result))
    average_sites(store, shares(sites))


def named(*loaded: LoadedStructure) -> list[tuple[str, LoadedStructure]]:
    return [(each.source.label, each) for each in loaded]


def reference(structure: str, label: str = "exp") -> ReferenceSpectrum:
    spectrum: Spectrum = edge(-10.0)
    return ReferenceSpectrum(
        label=label,
        structure=structure,
        source="exp.txt",
        energy=spectrum.energy.tolist(),
        absorption=spectrum.absorption.tolist(),
    )


def test_a_column_is_called_like_its_code_where_that_tells_it_apart() -> None:
    (alone,) = code_columns([("feff", "fast")])
    assert (alone.label, alone.protocol) == ("feff", "fast@1")
    assert [c.label for c in code_columns(BOTH)] == ["feff fast@1", "feff balanced@1"]
    changed = code_columns([("feff", "fast"), ("feff", "fast+fms_radius=5")])
    assert changed[1].protocol == "fast@1+fms_radius=5.0"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ([("feff", "fast"), ("feff", "fast@1")], "named twice"),
        ([("nope", "fast")], "No code is called 'nope'"),
        ([("feff", "lavish")], "no protocol 'lavish'"),
    ],
)
def test_columns_that_make_no_sense_are_refused(wanted: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(InputRefused, match=reason):
        code_columns(wanted)


def test_the_plan_names_the_spectra_that_the_queue_will_make(
    store: SpectraStore, molecule: Molecule
) -> None:
    loaded = molecule("CCO")
    plan = plan_benchmark(named(loaded), code_columns(BOTH), absorber="C")
    for protocol in ("fast", "balanced"):
        compute(store, loaded, protocol)
    assert all(
        each.average_id is not None and store.spectrum(each.average_id) is not None
        for each in plan.structures[0].spectra
    )
    assert [len(each.calculation_ids) for each in plan.structures[0].spectra] == [2, 2]


def test_what_the_store_holds_is_compared_and_the_rest_is_named(
    store: SpectraStore, molecule: Molecule
) -> None:
    whole, half, none, nothing = (molecule(name) for name in ("CO", "CCO", "OCO", "CN"))
    for protocol, shift in (("fast", 0.0), ("balanced", 2.0)):
        compute(store, whole, protocol, shift=shift)
    compute(store, half, "fast")
    compute(store, half, "balanced", fail=1)
    compute(store, none, "fast")
    compute(store, none, "balanced", fail=1)
    plan = plan_benchmark(
        named(whole, half, none, nothing),
        code_columns(BOTH),
        absorber="C",
        references=[reference("CO"), reference("OCO")],
        project="p",
    )
    document = compare_stored(store, plan).document
    states = {
        structure.label: [each.state for each in structure.spectra]
        for structure in document.structures
    }
    assert states == {
        "CO": ["completed", "completed", "completed"],
        "CCO": ["completed", "incomplete", "missing"],
        "OCO": ["completed", "stage_failed", "completed"],
        "CN": ["missing", "missing", "missing"],
    }
    assert {(m.first, m.second): m.structures for m in document.means} == {
        ("feff fast@1", "feff balanced@1"): 1,
        ("feff fast@1", "exp"): 2,
        ("feff balanced@1", "exp"): 1,
    }
    assert document.means[0].shift == pytest.approx(-2.0, abs=0.01)
    assert "It stopped." in [each.message for _, each in document.missing]


def test_spectra_are_broadened_before_they_are_compared_and_never_twice(
    store: SpectraStore, molecule: Molecule
) -> None:
    for protocol in ("fast", "balanced"):
        compute(store, molecule("CO"), protocol)
    columns = code_columns(BOTH)
    plan = plan_benchmark(named(molecule("CO")), columns, absorber="C", broadening="gaussian:2")
    found = compare_stored(store, plan)
    plain = compare_stored(store, plan.model_copy(update={"broadening": None}))
    assert found.document.broadening == "gaussian:2"
    assert found.document.benchmark_id != plain.document.benchmark_id
    label = columns[0].label
    broad, sharp = found.crystals[0].spectra[label], plain.crystals[0].spectra[label]
    assert broad.absorption.max() < sharp.absorption.max()
    contained = [{"kind": "gaussian", "width": 1.0, "origin": "the code's"}]
    store.database["spectra"].update_many({}, {"$set": {"broadening": contained}})
    with pytest.raises(SpectrumError, match="broaden it twice"):
        compare_stored(store, plan)


def test_a_code_that_refuses_a_structure_stops_nothing(
    store: SpectraStore, molecule: Molecule
) -> None:
    plan = plan_benchmark(named(molecule("CO")), code_columns(BOTH), absorber="C", edge="P9")
    assert all(each.average_id is None and each.refusal for each in plan.structures[0].spectra)
    document = compare_stored(store, plan).document
    assert [each.state for _, each in document.missing] == ["refused", "refused"]


@pytest.mark.parametrize(
    ("references", "reason"),
    [
        ([reference("NO")], "is of 'NO', which is none of the structures: CO"),
        ([reference("CO", "feff")], "called like a code"),
        ([reference("CO"), reference("CO")], "given twice"),
    ],
)
def test_references_that_belong_nowhere_are_refused(
    molecule: Molecule, references: list[ReferenceSpectrum], reason: str
) -> None:
    with pytest.raises(SpectrumError, match=reason):
        plan_benchmark(
            named(molecule("CO")),
            code_columns([("feff", "fast")]),
            absorber="C",
            references=references,
        )


def test_the_same_structure_given_twice_is_compared_once(molecule: Molecule) -> None:
    twice = [("one", molecule("CO")), ("two", molecule("CO"))]
    plan = plan_benchmark(twice, code_columns(BOTH), absorber="C")
    assert [each.label for each in plan.structures] == ["one"]


def test_the_flow_ends_with_the_comparison_of_every_average(
    pad: LaunchPad, molecule: Molecule
) -> None:
    structures = named(molecule("CO"), molecule("CCO"))
    plan = plan_benchmark(structures, code_columns(BOTH), absorber="C", project="p")
    flow = BenchmarkFlowMaker().make(plan, structures)
    jobs = list(flow.iterflow())
    assert len(jobs) == 2 * (2 + 3) + 1
    last, waits_for = jobs[-1]
    assert last.metadata["nearedge"]["kind"] == "benchmark"
    assert len(waits_for) == 4
