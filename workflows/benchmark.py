"""Codes against each other: every structure by every code, then the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jobflow.core.flow import Flow
from jobflow.core.maker import Maker
from jobflow.core.reference import OnMissing

from nearedge.codes import get_code
from nearedge.codes.protocols import load_protocol
from nearedge.errors import InputRefused, ResourceError, SpectrumError, StructureError
from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.queue_state import JobKind
from nearedge.makers.benchmark import (
    BenchmarkMaker,
    BenchmarkPlan,
    PlannedSpectrum,
    PlannedStructure,
)
from nearedge.schemas import StructureDoc
from nearedge.schemas.benchmark import BenchmarkColumn, ReferenceSpectrum
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.spectrum import Crystal, SpectrumFlowMaker, plan_sites


def code_columns(wanted: Sequence[tuple[str, str]]) -> list[BenchmarkColumn]:
    """Return a column for each code and protocol, labelled by the code where that suffices.

    Parameters
    ----------
    wanted
        Name of a code and name or label of a protocol.

    Raises
    ------
    InputRefused
        If a code or protocol is unknown, or one is named twice.
    """
    labels = [
        (get_code(code).name, load_protocol(code, protocol).label) for code, protocol in wanted
    ]
    columns = []
    for code, protocol in labels:
        if labels.count((code, protocol)) > 1:
            raise InputRefused(
                "named_twice", f"{code} with protocol {protocol} is named twice: name it once."
            )
        alone = sum(other == code for other, _ in labels) == 1
        label = code if alone else f"{code} {protocol}"
        columns.append(BenchmarkColumn(label=label, kind="code", code=code, protocol=protocol))
    return columns


def plan_benchmark(
    structures: Sequence[tuple[str, LoadedStructure]],
    columns: Sequence[BenchmarkColumn],
    *,
    absorber: str,
    edge: str = "K",
    references: Sequence[ReferenceSpectrum] = (),
    window: float = 35.0,
    broadening: str | None = None,
    project: str | None = None,
) -> BenchmarkPlan:
    """Return what is to be compared, by the ids that its spectra have or will have.

    Parameters
    ----------
    structures
        Labels, all different, and checked structures that hold the absorber. A structure that was
        given before is left out.
    columns
        As `code_columns` gives them.
    references
        Spectra from elsewhere; each names a structure by its label.

    Raises
    ------
    SpectrumError
        If a reference's label is a code's, its structure is none of these, or it is given twice.
    """
    planned: dict[str, PlannedStructure] = {}
    for label, loaded in structures:
        document = StructureDoc.from_structure(loaded.structure, loaded.source)
        planned.setdefault(
            document.structure_key,
            PlannedStructure(
                label=label,
                structure_key=document.structure_key,
                structure_id=document.structure_id,
                formula=document.formula,
                spectra=[_planned(document, column, absorber, edge) for column in columns],
            ),
        )
    known = {each.label for each in planned.values()}
    _check_references(references, known, {column.label for column in columns})
    labels = dict.fromkeys(each.label for each in references)
    return BenchmarkPlan(
        absorber=absorber,
        edge=edge,
        columns=[*columns, *(BenchmarkColumn(label=each, kind="reference") for each in labels)],
        structures=list(planned.values()),
        references=list(references),
        window=window,
        broadening=broadening,
        project=project,
    )


def _planned(
    structure: StructureDoc, column: BenchmarkColumn, absorber: str, edge: str
) -> PlannedSpectrum:
    maker = SpectrumFlowMaker.for_code(column.code or "", protocol=column.protocol or "")
    try:
        crystal = Crystal(maker, plan_sites(maker.site_maker, structure, absorber, edge))
    except (StructureError, ResourceError) as error:
        # Also where the code's own files are missing here: what others gave is compared.
        return PlannedSpectrum(column=column.label, refusal=str(error))
    if crystal.refusal is not None:
        return PlannedSpectrum(column=column.label, refusal=crystal.refusal.message)
    return PlannedSpectrum(
        column=column.label,
        average_id=crystal.average_id,
        calculation_ids=[site.calculation_id for site in crystal.sites],
    )


def _check_references(
    references: Sequence[ReferenceSpectrum], structures: set[str], columns: set[str]
) -> None:
    seen = set()
    for each in references:
        if each.label in columns:
            raise SpectrumError(
                f"The reference {each.label!r} is called like a code: give it another label."
            )
        if each.structure not in structures:
            raise SpectrumError(
                f"The reference {each.label!r} is of {each.structure!r}, which is none of the "
                f"structures: {', '.join(sorted(structures))}."
            )
        if (each.structure, each.label) in seen:
            raise SpectrumError(
                f"The reference {each.label!r} of {each.structure} is given twice: give the "
                "second another label."
            )
        seen.add((each.structure, each.label))


@dataclass
class BenchmarkFlowMaker(Maker):
    """Every structure by every code, then the comparison of what there is.

    A code that fails on a structure stops nothing: the document says what is missing. What is known
    is found and not computed again.

    Parameters
    ----------
    name
        The flow's name.
    benchmark_maker
        Compares and stores the document.
    """

    name: str = "benchmark"
    benchmark_maker: BenchmarkMaker = field(default_factory=BenchmarkMaker)

    def make(self, plan: BenchmarkPlan, structures: Sequence[tuple[str, LoadedStructure]]) -> Flow:
        """Return the flow.

        Parameters
        ----------
        plan
            From `plan_benchmark`.
        structures
            The same that it was made from.
        """
        flows: list[Flow] = []
        averages: list[object] = []
        codes = [column for column in plan.columns if column.kind == "code"]
        wanted = {each.label: each for each in plan.structures}
        for label, loaded in structures:
            if label not in wanted:
                continue
            for column, planned in zip(codes, wanted[label].spectra, strict=True):
                if planned.average_id is None:
                    continue
                maker = SpectrumFlowMaker.for_code(
                    column.code or "", protocol=column.protocol or "", project=plan.project
                )
                flow = maker.make(loaded.structure, plan.absorber, plan.edge, loaded.source)
                flows.append(flow)
                averages.append(flow.jobs[-1].output)
        compare = self.benchmark_maker.make(plan, averages)
        compare.config.on_missing_references = OnMissing.NONE
        label = f"{plan.absorber} {plan.edge} {', '.join(c.label for c in plan.columns)}"
        compare.name = f"{compare.name} {label}"
        about = {"kind": JobKind.BENCHMARK.value, "label": compare.name, "project": plan.project}
        compare.update_metadata({SPEC_KEY: about})
        return Flow([*flows, compare], name=f"{self.name} {label}")
