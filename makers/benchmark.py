"""The benchmark: what the store holds of each structure by each code, compared."""

from __future__ import annotations

from dataclasses import dataclass

from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict, Field

from nearedge.makers.average import AverageOutcome
from nearedge.makers.compared import (
    Compared,
    Crystal,
    Entry,
    compared,
    computed_entry,
    reference_entry,
)
from nearedge.schemas.benchmark import (
    MISSING,
    BenchmarkColumn,
    BenchmarkSpectrum,
    ReferenceSpectrum,
)
from nearedge.schemas.broadened import BroadeningRequest, broadened
from nearedge.settings import get_settings
from nearedge.store.benchmarks import BenchmarkStore
from nearedge.store.connection import connect
from nearedge.store.queries import CalculationQuery
from nearedge.store.spectra_store import SpectraStore


class PlannedSpectrum(BaseModel):
    """The average that a code gives of a structure, by the ids that it will have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    average_id: str | None = Field(None, description="None where the code refuses the structure.")
    calculation_ids: list[str] = Field(default_factory=list)
    refusal: str = ""


class PlannedStructure(BaseModel):
    """A structure and what each code gives of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    structure_key: str
    structure_id: str
    formula: str
    spectra: list[PlannedSpectrum]


class BenchmarkPlan(BaseModel):
    """Everything that a benchmark is about, in plain numbers and strings.

    Parameters
    ----------
    columns
        Codes in the order of each structure's `spectra`, then references.
    broadening
        What computed spectra are broadened by; see `BroadeningRequest.parse`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    absorber: str
    edge: str
    columns: list[BenchmarkColumn]
    structures: list[PlannedStructure]
    references: list[ReferenceSpectrum] = Field(default_factory=list)
    window: float = 35.0
    broadening: str | None = None
    project: str | None = None


class BenchmarkOutcome(BaseModel):
    """What a benchmark's job returns."""

    model_config = ConfigDict(extra="forbid")

    benchmark_id: str
    missing: int = Field(description="Spectra that take no part.")


@dataclass
class BenchmarkMaker(Maker):
    """Compare what codes computed and store the document.

    Parameters
    ----------
    name
        The job's name.
    """

    name: str = "benchmark"

    @job(output_schema=BenchmarkOutcome)
    def make(
        self, plan: BenchmarkPlan, averages: list[AverageOutcome | None] | None = None
    ) -> BenchmarkOutcome:
        """Return where the document is; as a job, when called on a maker.

        Parameters
        ----------
        plan
            What to compare.
        averages
            Make this job wait for those of the averages; what counts is what the store holds.
        """
        database = connect(get_settings())
        document = compare_stored(SpectraStore(database), plan).document
        BenchmarkStore(database).put(document)
        return BenchmarkOutcome(benchmark_id=document.benchmark_id, missing=len(document.missing))


def compare_stored(store: SpectraStore, plan: BenchmarkPlan) -> Compared:
    """Compare what the store holds of a plan now; nothing is stored.

    Raises
    ------
    SpectrumError
        If a spectrum contains the broadening already that the plan asks for.
    """
    request = None if plan.broadening is None else BroadeningRequest.parse(plan.broadening)
    return compared(
        [_crystal(store, each, plan, request) for each in plan.structures],
        plan.columns,
        absorber=plan.absorber,
        edge=plan.edge,
        window=plan.window,
        broadening=plan.broadening,
        project=plan.project,
    )


def _crystal(
    store: SpectraStore,
    planned: PlannedStructure,
    plan: BenchmarkPlan,
    request: BroadeningRequest | None,
) -> Crystal:
    entries = [_entry(store, each, request) for each in planned.spectra]
    given = {each.label: each for each in plan.references if each.structure == planned.label}
    for column in plan.columns:
        if column.kind != "reference":
            continue
        if column.label in given:
            entries.append(reference_entry(given[column.label]))
        else:
            message = f"No file was given for {planned.label}."
            entries.append(_absent(column.label, MISSING, message))
    return Crystal(
        planned.label, planned.structure_key, planned.structure_id, planned.formula, entries
    )


def _entry(
    store: SpectraStore, planned: PlannedSpectrum, request: BroadeningRequest | None
) -> Entry:
    if planned.average_id is None:
        return _absent(planned.column, "refused", planned.refusal)
    document = store.spectrum(planned.average_id)
    if document is not None:
        changed = document if request is None else broadened(document, request)
        return computed_entry(planned.column, document, changed.to_spectrum())
    failed = list(
        store.calculations(CalculationQuery(calculation_ids=planned.calculation_ids, failed=True))
    )
    if not failed:
        return _absent(planned.column, MISSING, "It has not been computed yet.")
    first = failed[0]
    message = "" if first.failure is None else first.failure.message
    return _absent(planned.column, first.state, message)


def _absent(column: str, state: str, message: str) -> Entry:
    return Entry(BenchmarkSpectrum(column=column, state=state, message=message))
