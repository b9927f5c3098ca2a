"""Several crystals in one job: where a site takes seconds, many share what the queue costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast

from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict
from pymatgen.core.structure import Structure

from nearedge.codes import get_code
from nearedge.errors import DatabaseUnavailable
from nearedge.makers.average import (
    AverageMaker,
    AverageOutcome,
    SiteShare,
    average_document,
    average_sites,
)
from nearedge.makers.documents import Site, describe_sites
from nearedge.makers.packed_sites import PackedSites
from nearedge.makers.simulation import SimulationMaker, SiteOutcome, refuse_lost_outcome
from nearedge.makers.storing import Repeats
from nearedge.schemas import CalculationDoc, SourceRef, SpectrumDoc, StructureDoc
from nearedge.settings import get_settings
from nearedge.store.connection import connect
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.checks import check_structure


class PackOutcome(BaseModel):
    """What a pack's job returns: each site's outcome and each crystal's average."""

    model_config = ConfigDict(extra="forbid")

    sites: list[SiteOutcome]
    averages: list[AverageOutcome]


@dataclass
class PackMaker(Maker):
    """Compute the sites of several crystals one after the other, then the crystals' averages.

    What it leaves is the same as of a job for each site and each average. Of a pack that is
    interrupted, what is done is stored, and is not computed again.

    Parameters
    ----------
    name
        The job's name.
    site_maker
        Computes each site.
    average_maker
        Averages each crystal.
    """

    name: str = "pack"
    site_maker: SimulationMaker = field(default_factory=SimulationMaker)
    average_maker: AverageMaker = field(default_factory=AverageMaker)

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        """Read what a job stores; before 23 November 2026 that named a time of day as well."""
        known = {name: value for name, value in d.items() if name != "submitted"}
        return cast("Self", super().from_dict(known))

    @job(output_schema=PackOutcome)
    def make(
        self,
        structures: list[Structure],
        sources: list[SourceRef],
        indices: list[list[int]],
        shares: list[list[SiteShare]],
        failures: dict[str, str] | None = None,
        instead_of: dict[str, str] | None = None,
    ) -> PackOutcome:
        """Return what became of all sites; as a job, when called on a maker.

        Failures that have names are recorded, as `SimulationMaker.make` does. The same errors end
        the job: those of one site only after the others had their turn, and the crystals that
        they leave whole their averages.

        Parameters
        ----------
        structures, sources
            The crystals, and where they came from.
        indices
            The sites that are to be computed in each.
        shares
            All symmetry-unique absorbers of each, for its average.
        failures
            With `rerun_failed`: the failures that are computed again, by calculation, each as
            `failure_told` gives it. One that is recorded later is the job's own, from before it
            was interrupted, or another's that ran meanwhile, and is left as it is. None: all are
            computed again.
        instead_of
            The failed calculations that others repeat with other parameters, by these.
        """
        refuse_lost_outcome()
        work = PackedSites(
            self.site_maker, get_settings(), self._repeats(failures), instead_of or {}
        )
        sites: list[Site] = []
        for structure, source, wanted, of_crystal in zip(
            structures, sources, indices, shares, strict=True
        ):
            with work.errors.kept(source.label):
                sites += self._sites(structure, source, wanted, of_crystal)
        work.do(sites)
        averages = _averages(work, shares, self.average_maker.project)
        work.errors.raise_one()
        return PackOutcome(
            sites=[work.outcomes[site.calculation_id] for site in sites], averages=averages
        )

    def _repeats(self, failures: Mapping[str, str] | None) -> Repeats:
        def repeats(found: CalculationDoc) -> bool:
            if found.completed or not self.site_maker.rerun_failed:
                return False
            return failures is None or failures.get(found.calculation_id) == failure_told(found)

        return repeats

    def _sites(
        self,
        structure: Structure,
        source: SourceRef,
        wanted: Sequence[int],
        shares: Sequence[SiteShare],
    ) -> list[Site]:
        check_structure(structure, label=source.label)
        document = StructureDoc.from_structure(structure, source)
        multiplicities = {share.absorbing_index: share.multiplicity for share in shares}
        maker = self.site_maker
        return describe_sites(
            get_code(maker.code),
            document,
            {index: multiplicities[index] for index in wanted},
            edge=maker.edge,
            protocol=maker.protocol,
        )


def failure_told(failed: CalculationDoc) -> str:
    """Return what tells a stored failure from every other one of the same calculation."""
    return failed.created_at.isoformat()


def _averages(
    work: PackedSites, crystals: Sequence[Sequence[SiteShare]], project: str | None
) -> list[AverageOutcome]:
    """Average each crystal; those whose sites are all of this pack are stored together.

    One of whose sites an error is kept has its average when that site has been computed.
    """
    store = SpectraStore(connect(work.settings))
    whole: list[SpectrumDoc] = []
    outcomes: list[AverageOutcome] = []
    failed = set(work.errors.of)
    for shares in crystals:
        ids = [share.calculation_id for share in shares]
        if failed.intersection(ids):
            continue
        with work.errors.kept(f"the average of {ids[0]}"):
            if not all(each in work.spectra for each in ids):
                outcomes.append(average_sites(store, shares, project))
                continue
            average = average_document(shares, work.spectra, {}, project)
            whole.append(average)
            outcomes.append(
                AverageOutcome(
                    spectrum_id=average.spectrum_id, state=average.state, covered=average.covered
                )
            )
    _put(store, whole, work)
    return outcomes


def _put(store: SpectraStore, averages: Sequence[SpectrumDoc], work: PackedSites) -> None:
    """Store averages; where that cannot be, all of them that can be stored."""
    try:
        store.put_averages(averages)
    except DatabaseUnavailable:
        raise
    except Exception:
        for average in averages:
            with work.errors.kept(f"the average of {average.calculation_ids[0]}"):
                store.put_average(average)
