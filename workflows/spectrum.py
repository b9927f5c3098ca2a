"""A crystal's spectrum: every symmetry-unique absorber, then the average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from jobflow.core.flow import Flow
from jobflow.core.job import Job
from jobflow.core.maker import Maker
from jobflow.core.reference import OnMissing
from pymatgen.core.structure import Structure

from nearedge.codes import get_code
from nearedge.errors import InputRefused, StructureError
from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.queue_state import JobKind
from nearedge.makers.average import AverageMaker, SiteShare, average_id
from nearedge.makers.documents import Site, describe_sites
from nearedge.makers.elk import ElkMaker
from nearedge.makers.exciting import ExcitingMaker
from nearedge.makers.feff import FeffMaker
from nearedge.makers.gpaw import GpawMaker
from nearedge.makers.ocean import OceanMaker
from nearedge.makers.pack import PackMaker
from nearedge.makers.simulation import SimulationMaker
from nearedge.makers.vasp import VaspMaker
from nearedge.makers.xspectra import XSpectraMaker
from nearedge.schemas import SourceRef, StructureDoc
from nearedge.structures.absorbers import unique_absorbers
from nearedge.structures.checks import check_structure, refusal
from nearedge.structures.source import LoadedStructure, Refusal

_SITE_MAKERS: dict[str, type[SimulationMaker]] = {
    "feff": FeffMaker,
    "xspectra": XSpectraMaker,
    "elk": ElkMaker,
    "gpaw": GpawMaker,
    "ocean": OceanMaker,
    "exciting": ExcitingMaker,
    "vasp": VaspMaker,
}

AVERAGE_PRIORITY = 1
"""Averages take milliseconds and go before sites, so that finished crystals show at once."""


@dataclass
class SpectrumFlowMaker(Maker):
    """Crystal → sites → average.

    Parameters
    ----------
    name
        The flow's name.
    site_maker
        Computes each symmetry-unique absorber.
    average_maker
        Averages those that completed; a site that failed does not stop it.
    """

    name: str = "spectrum"
    site_maker: SimulationMaker = field(default_factory=FeffMaker)
    average_maker: AverageMaker = field(default_factory=AverageMaker)

    @classmethod
    def for_code(
        cls,
        code: str,
        *,
        protocol: str = "fast",
        project: str | None = None,
        rerun_failed: bool = False,
    ) -> SpectrumFlowMaker:
        """Return the maker for a code by its name.

        Raises
        ------
        InputRefused
            If no code has that name.
        """
        get_code(code)
        maker = _SITE_MAKERS.get(code, SimulationMaker)
        return cls(
            site_maker=maker(
                code=code, protocol=protocol, project=project, rerun_failed=rerun_failed
            ),
            average_maker=AverageMaker(project=project),
        )

    def make(
        self, structure: Structure, absorber: str, edge: str = "K", source: SourceRef | None = None
    ) -> Flow:
        """Return the flow of one crystal.

        Parameters
        ----------
        structure
            An ordered structure.
        absorber
            Symbol of the absorbing element.
        edge
            Absorption edge, such as ``K``.
        source
            Where the structure came from.

        Raises
        ------
        StructureError
            If the structure is refused or lacks the element.
        """
        source = source or SourceRef(kind="object", label=structure.composition.reduced_formula)
        check_structure(structure, absorber, label=source.label)
        sites = plan_sites(
            self.site_maker, StructureDoc.from_structure(structure, source), absorber, edge
        )
        return flow_of(self, sites, sites)


def plan_sites(
    maker: SimulationMaker, structure: StructureDoc, absorber: str, edge: str
) -> list[Site]:
    """Return the symmetry-unique absorbers with the calculations that `maker` would do on them."""
    absorbers = unique_absorbers(structure.to_structure(), absorber)
    return describe_sites(
        get_code(maker.code),
        structure,
        {each.index: each.multiplicity for each in absorbers},
        edge=edge,
        protocol=maker.protocol,
    )


@dataclass(frozen=True)
class Crystal:
    """One structure, absorber, edge and code: what one flow computes.

    Parameters
    ----------
    maker
        What computes it.
    sites
        Its symmetry-unique absorbers.
    """

    maker: SpectrumFlowMaker
    sites: list[Site]

    @property
    def average_id(self) -> str:
        """The id that the average over the sites has or will have."""
        first = self.sites[0]
        return average_id(
            shares(self.sites), first.structure.structure_key, first.absorber, first.edge
        )

    @property
    def calculation_ids(self) -> set[str]:
        """The ids of the sites' calculations."""
        return {site.calculation_id for site in self.sites}

    @property
    def edge(self) -> str:
        """The absorption edge."""
        return self.sites[0].edge

    @property
    def refusal(self) -> InputRefused | None:
        """Why the code computes none of the sites; None where it computes one."""
        refusals = [site.refusal for site in self.sites if site.refusal is not None]
        return refusals[0] if len(refusals) == len(self.sites) else None


def plan_crystals(
    loaded: LoadedStructure | Refusal,
    makers: Sequence[SpectrumFlowMaker],
    absorber: str,
    edge: str,
) -> Iterator[Crystal | Refusal]:
    """Yield what each maker would compute of a structure, or why nothing is."""
    if isinstance(loaded, Refusal):
        yield loaded
        return
    reason = refusal(loaded.structure, absorber)
    if reason is not None:
        yield Refusal(loaded.source.given_as, reason)
        return
    try:
        document = StructureDoc.from_structure(loaded.structure, loaded.source)
        for maker in makers:
            yield Crystal(maker, plan_sites(maker.site_maker, document, absorber, edge))
    except StructureError as error:
        yield Refusal(loaded.source.given_as, str(error))


def shares(sites: Sequence[Site]) -> list[SiteShare]:
    """Return what an average needs to know of its sites."""
    return [
        SiteShare(
            calculation_id=site.calculation_id,
            parameters_id=site.parameters_id,
            absorbing_index=site.absorbing_index,
            multiplicity=site.multiplicity,
        )
        for site in sites
    ]


def flow_of(
    maker: SpectrumFlowMaker,
    sites: Sequence[Site],
    wanted: Sequence[Site],
    instead_of: Mapping[str, str] | None = None,
) -> Flow:
    """Return a flow that runs the sites in `wanted` and averages over all of `sites`.

    All sites are of one structure, absorber and edge. `instead_of` says which failed calculations
    the new ones repeat with other parameters.
    """
    first = sites[0]
    structure = first.structure.to_structure()
    site_maker = replace(maker.site_maker, edge=first.edge)
    jobs: list[Job] = []
    for site in wanted:
        failed = (instead_of or {}).get(site.calculation_id)
        more = {} if failed is None else {"instead_of": failed}
        job = site_maker.make(structure, site.absorbing_index, site.structure.source, **more)
        about = {"calculation_id": site.calculation_id, "code": site_maker.code}
        _describe(job, JobKind.SITE, site.label, site_maker.project, **about)
        jobs.append(job)
    average = maker.average_maker.make(shares(sites), [job.output for job in jobs])
    average.config.on_missing_references = OnMissing.NONE
    average.config.manager_config = {"_priority": AVERAGE_PRIORITY}
    label = f"{first.structure.source.label} {first.absorber} {first.edge}"
    made = Crystal(maker, list(sites)).average_id
    _describe(average, JobKind.AVERAGE, label, maker.average_maker.project, average_id=made)
    return Flow([*jobs, average], name=f"{maker.name} {label}")


def pack_of(
    parts: Sequence[tuple[Crystal, Sequence[Site]]],
    failures: Mapping[str, str] | None = None,
    instead_of: Mapping[str, str] | None = None,
) -> Job:
    """Return one job that runs the given sites of several crystals, and averages each.

    All crystals are of one maker and edge. `failures` and `instead_of` are as `PackMaker.make` has
    them, of these sites and of others.
    """
    (crystal, _), *_ = parts
    maker = crystal.maker
    first = crystal.sites[0]
    site_maker = replace(maker.site_maker, edge=first.edge)
    wanted = [site for _, sites in parts for site in sites]
    rerun = site_maker.rerun_failed
    repeated = _only(failures or {}, wanted) if rerun else None
    job = PackMaker(site_maker=site_maker, average_maker=maker.average_maker).make(
        [crystal.sites[0].structure.to_structure() for crystal, _ in parts],
        [crystal.sites[0].structure.source for crystal, _ in parts],
        [[site.absorbing_index for site in sites] for _, sites in parts],
        [shares(crystal.sites) for crystal, _ in parts],
        repeated,
        _only(instead_of or {}, wanted) or None,
    )
    label = f"{len(wanted)} sites of {len(parts)} crystals from {first.label} on"
    about: dict[str, str | Sequence[str] | Mapping[str, str]] = {
        "calculation_id": [site.calculation_id for site in wanted],
        "average_id": [crystal.average_id for crystal, _ in parts],
        "code": site_maker.code,
    }
    if repeated is not None:
        about["failures"] = repeated
    _describe(job, JobKind.PACK, label, site_maker.project, rerun_failed=rerun, **about)
    return job


def _only(values: Mapping[str, str], wanted: Sequence[Site]) -> dict[str, str]:
    ids = {site.calculation_id for site in wanted}
    return {name: value for name, value in values.items() if name in ids}


def _describe(
    job: Job,
    kind: JobKind,
    label: str,
    project: str | None,
    **more: str | bool | Sequence[str] | Mapping[str, str],
) -> None:
    """Say in the job's metadata, and so in its Firework's spec, what it is about."""
    job.name = f"{job.name} {label}"
    about = {"kind": kind.value, "label": label, "project": project, **more}
    job.update_metadata({SPEC_KEY: about})
