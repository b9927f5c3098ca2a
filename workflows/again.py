"""Failures by name, run again: as they were, or with other parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from nearedge.codes.protocols import load_protocol
from nearedge.errors import InputRefused
from nearedge.launch.failures import run_fizzled_again
from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad
from nearedge.schemas import CalculationDoc, StructureDoc
from nearedge.settings import Settings, get_settings
from nearedge.store.queries import CalculationQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import Refusal
from nearedge.workflows.campaign import SubmissionReport, enqueue, known_of
from nearedge.workflows.spectrum import Crystal, SpectrumFlowMaker, plan_sites


@dataclass(frozen=True)
class Changes:
    """What is to be otherwise; without any, the same calculations run again.

    Parameters
    ----------
    protocol
        Another protocol of the code, by name.
    settings
        Other values for settings of the protocol, each ``NAME=VALUE``.
    whole_crystals
        Compute the crystal's other sites with them too, so that it gets a complete average.
    """

    protocol: str | None = None
    settings: tuple[str, ...] = ()
    whole_crystals: bool = False

    def __bool__(self) -> bool:
        return self.protocol is not None or bool(self.settings)

    def of(self, code: str, protocol: str) -> str:
        """Return the protocol of a calculation, changed.

        Raises
        ------
        InputRefused
            If the code has no such protocol or setting.
        """
        return load_protocol(code, "+".join([self.protocol or protocol, *self.settings])).label


@dataclass
class _Plan:
    crystals: list[Crystal] = field(default_factory=list)
    wanted: set[str] = field(default_factory=set)
    instead_of: dict[str, str] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class _Group:
    """What one flow is about."""

    structure_key: str
    absorber: str
    edge: str
    code: str
    protocol: str
    project: str | None


def run_again(
    error: str,
    *,
    code: str | None = None,
    project: str | None = None,
    changes: Changes | None = None,
    pack: int = 1,
    dry_run: bool = False,
    settings: Settings | None = None,
    progress: Callable[[int], None] | None = None,
) -> SubmissionReport:
    """Run again what failed by the name `error`: calculations, and jobs that fizzled.

    Without changes the same calculations run again, and their documents are replaced when they
    end. With changes they become new calculations, which name the failed ones as their parents.

    Parameters
    ----------
    error
        The failure's name, such as ``scf_not_converged``; of a job that fizzled, the error's.
    code, project
        Only failures of this code, and of this project.
    changes
        Other physical parameters.
    pack
        About how many sites share a job; see `campaign.enqueue`.
    dry_run
        Count, and change nothing.
    settings
        Default: this process's.
    progress
        Called with a number of failures that were looked at.

    Raises
    ------
    DatabaseUnavailable, ForeignDatabase
        If the database is not there or not NearEdge's.
    """
    settings = settings or get_settings()
    changes = changes or Changes()
    store = SpectraStore.from_settings(settings)
    pad = launchpad(settings)
    ensure_launchpad_indexes(pad)
    failed = list(store.calculations(CalculationQuery(state=error, code=code, project=project)))
    plan = _plan(store, failed, project, changes, progress or (lambda _: None))
    known = known_of(store, plan.crystals, rerun_failed=not changes)
    if not changes:
        others = {each for crystal in plan.crystals for each in crystal.calculation_ids}
        known = replace(known, calculations=others - plan.wanted)
    report = enqueue(
        pad,
        plan.crystals,
        known,
        wanted=plan.wanted,
        instead_of=plan.instead_of,
        pack=pack,
        dry_run=dry_run,
    )
    put_back = 0
    if not changes:
        put_back = run_fizzled_again(pad, error, code=code, project=project, dry_run=dry_run)
    return replace(report, new=report.new + put_back, refused=_together(plan.refused))


def _plan(
    store: SpectraStore,
    failed: Sequence[CalculationDoc],
    project: str | None,
    changes: Changes,
    progress: Callable[[int], None],
) -> _Plan:
    plan = _Plan()
    groups: dict[_Group, list[CalculationDoc]] = {}
    for calculation in failed:
        for group in _groups_of(calculation, project, changes, plan.refused):
            groups.setdefault(group, []).append(calculation)
    structures = store.structures({group.structure_key for group in groups})
    for group, calculations in groups.items():
        structure = structures.get(group.structure_key)
        if structure is None:
            gone = "its structure is not in the database"
            plan.refused += [Refusal(_label(each), gone) for each in calculations]
        else:
            _add(plan, group, structure, calculations, changes)
        progress(len(calculations))
    return plan


def _groups_of(
    calculation: CalculationDoc, project: str | None, changes: Changes, refused: list[Refusal]
) -> Iterator[_Group]:
    """Yield the flows that a failure belongs to: one for each project it is filed under."""
    try:
        protocol = changes.of(calculation.code, calculation.protocol)
    except InputRefused as error:
        refused.append(Refusal(_label(calculation), error.message))
        return
    of = calculation
    projects: list[str | None] = [*of.projects] if project is None else [project]
    for each in projects or [None]:
        yield _Group(of.structure_key, of.absorber, of.edge, of.code, protocol, each)


def _add(
    plan: _Plan,
    group: _Group,
    structure: StructureDoc,
    calculations: Sequence[CalculationDoc],
    changes: Changes,
) -> None:
    maker = SpectrumFlowMaker.for_code(
        group.code, protocol=group.protocol, project=group.project, rerun_failed=not changes
    )
    crystal = Crystal(maker, plan_sites(maker.site_maker, structure, group.absorber, group.edge))
    sites = {site.absorbing_index: site for site in crystal.sites}
    any_wanted = False
    for calculation in calculations:
        site = sites.get(calculation.absorbing_index)
        if site is None:
            reason = "its site is not one that `submit` would compute"
        elif site.refusal is not None:
            reason = site.refusal.message
        elif not changes and site.calculation_id != calculation.calculation_id:
            reason = (
                f"it was made by version {calculation.code_version}, and by "
                f"{site.inputs.code_version} it is another calculation: `submit` adds that one"
            )
        else:
            any_wanted = True
            plan.wanted.add(site.calculation_id)
            if site.calculation_id != calculation.calculation_id:
                plan.instead_of[site.calculation_id] = calculation.calculation_id
            continue
        plan.refused.append(Refusal(_label(calculation), reason))
    if any_wanted:
        plan.crystals.append(crystal)
        if changes.whole_crystals:
            plan.wanted.update(
                site.calculation_id for site in crystal.sites if site.refusal is None
            )


def _together(refused: Sequence[Refusal]) -> tuple[Refusal, ...]:
    """Return one refusal for each reason: thousands may have the same."""
    labels: dict[str, list[str]] = {}
    for each in refused:
        labels.setdefault(each.reason, []).append(each.label)
    return tuple(
        Refusal(of[0] if len(of) == 1 else f"{of[0]} and {len(of) - 1} more", reason)
        for reason, of in labels.items()
    )


def _label(calculation: CalculationDoc) -> str:
    site = f"{calculation.formula} {calculation.absorber}{calculation.absorbing_index}"
    return f"{site} {calculation.edge} by {calculation.code} ({calculation.calculation_id[:8]})"
