"""Relaxing a structure before anything is computed on it, by atomate2 with our M3GNet."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from atomate2.forcefields.jobs import ForceFieldRelaxMaker
from jobflow.core.flow import Flow
from jobflow.core.job import Response, job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict
from pymatgen.core.structure import Structure

from nearedge.errors import CodeError, InputRefused, ModelError
from nearedge.makers.simulation import refuse_lost_outcome
from nearedge.models.featurizers.m3gnet import NAME
from nearedge.models.potential import M3GNetCalculator, outside_of_m3gnet
from nearedge.schemas import COMPLETED, Failure, SourceRef, StructureDoc
from nearedge.schemas.relaxation import (
    RelaxationDoc,
    RelaxationResult,
    RelaxationSettings,
    RelaxedFrom,
    RelaxMode,
)
from nearedge.settings import Settings, get_settings
from nearedge.store.claims import Claims
from nearedge.store.connection import connect
from nearedge.store.operations import MongoDatabase
from nearedge.store.relaxations import RelaxationStore
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.checks import check_structure, refusal
from nearedge.structures.source import LoadedStructure
from nearedge.structures.symmetry import SYMPREC, symmetry_dataset

GPA = 160.21766208
"""GPa in one eV/Å³: 1e21 times the elementary charge of CODATA 2014, as in ase.units."""

_CALCULATOR = {"@module": M3GNetCalculator.__module__, "@callable": M3GNetCalculator.__name__}


class RelaxOutcome(BaseModel):
    """What a relaxation's job returns; structures and numbers are in the store."""

    model_config = ConfigDict(extra="forbid")

    relaxation_id: str
    origin: str
    structure_key: str | None
    state: str


class ContinueOutcome(BaseModel):
    """What the job after relaxations returns: how many structures it went on with."""

    model_config = ConfigDict(extra="forbid")

    relaxed: int
    failed: int


@dataclass
class RelaxMaker(Maker):
    """Relax a structure, unless it is known what that gives.

    The symmetry that the structure has within `SYMPREC` is made exact and kept.

    Parameters
    ----------
    name
        The job's name.
    mode
        ``full``: atoms and cell; ``fixed-volume``: atoms and the shape of the cell at its volume;
        ``fixed-cell``: atoms alone.
    pressure
        Hydrostatic pressure in GPa that the cell is relaxed under; other than 0 in mode ``full``
        alone.
    force_tolerance
        In eV/Å: the largest force on an atom in the end. For the cell, the stress times the volume
        per atom, in eV, is smaller in each component.
    steps
        Most steps; a structure that needs more is a failure by name.
    project
        Name that the documents are filed under.
    rerun_failed
        Try again what is known to have failed by name.
    """

    name: str = "relax"
    mode: RelaxMode = "full"
    pressure: float = 0.0
    force_tolerance: float = 0.005
    steps: int = 500
    project: str | None = None
    rerun_failed: bool = False

    def __post_init__(self) -> None:
        """Refuse a pressure that nothing gives way to."""
        if self.pressure != 0 and self.mode != "full":
            raise InputRefused(
                "pressure_without_cell",
                f"A pressure of {self.pressure:g} GPa does nothing to a structure whose volume is "
                f"kept ({self.mode}): relax it in mode full, or leave the pressure out.",
            )

    @job(output_schema=RelaxOutcome)
    def make(self, structure: Structure, source: SourceRef | None = None) -> RelaxOutcome:
        """Return where the relaxed structure is; as a job, when called on a maker.

        Parameters
        ----------
        structure
            An ordered structure.
        source
            Where it came from.

        Raises
        ------
        StructureError
            If nothing can be computed on the structure.
        WeightsError
            If the potential's weights are missing, damaged or compute wrong numbers.
        DatabaseUnavailable
            If the database is away.
        """
        refuse_lost_outcome()
        settings = get_settings()
        calculator = M3GNetCalculator(settings.model_path)
        source = source or SourceRef(kind="object", label=structure.composition.reduced_formula)
        check_structure(structure, label=source.label)
        origin = StructureDoc.from_structure(structure, source)
        how = self.settings_for(calculator.weights_sha256)
        identifier = how.relaxation_id(origin.structure_key)
        database = connect(settings)
        if known := self._known(database, identifier):
            return _outcome(known)
        with Claims(database).hold(identifier):
            # Whoever held the claim before us may have finished it.
            known = self._known(database, identifier)
            return _outcome(known or self._relax(database, settings, origin, how))

    def settings_for(self, weights_sha256: str) -> RelaxationSettings:
        """Return what decides the result, with these weights."""
        return RelaxationSettings(
            model=NAME,
            weights_sha256=weights_sha256,
            mode=self.mode,
            pressure=self.pressure,
            force_tolerance=self.force_tolerance,
            steps=self.steps,
        )

    def _known(self, database: MongoDatabase, identifier: str) -> RelaxationDoc | None:
        found = RelaxationStore(database).get(identifier)
        if found is None or (self.rerun_failed and not found.completed):
            return None
        if self.project is not None and self.project not in found.projects:
            RelaxationStore(database).add_project([identifier], self.project)
        return found

    def _relax(
        self,
        database: MongoDatabase,
        settings: Settings,
        origin: StructureDoc,
        how: RelaxationSettings,
    ) -> RelaxationDoc:
        """Relax and store, structures first: who finds the relaxation finds them."""
        document = RelaxationDoc(
            relaxation_id=how.relaxation_id(origin.structure_key),
            origin=origin.structure_key,
            formula=origin.formula,
            label=origin.source.label,
            settings=how,
            state=COMPLETED,
            host=socket.gethostname(),
            projects=[] if self.project is None else [self.project],
        )
        store = SpectraStore(database)
        store.put_structure(origin)
        try:
            structure, document.result = relaxed(origin.to_structure(), how, settings.model_path)
            made = RelaxedFrom(
                relaxation_id=document.relaxation_id,
                origin=origin.structure_key,
                settings=how,
                result=document.result,
            )
            label = f"{origin.source.label} {_suffix(how)}"
            source = origin.source.model_copy(update={"label": label})
            after = StructureDoc.from_structure(structure, source, made)
            store.put_structure(after)
            document.structure_key = after.structure_key
        except CodeError as error:
            document.state = error.name
            document.failure = Failure(name=error.name, message=error.message)
        RelaxationStore(database).put(document)
        return document


@dataclass
class ContinueMaker(Maker):
    """Go on with structures once they are relaxed: the flow is made of what they have become.

    Parameters
    ----------
    name
        The job's name.
    then
        A maker whose `make` takes relaxed structures by the `structure_key` of what each was
        relaxed from, and returns a flow.
    priority
        Added to that of each job that follows.
    """

    name: str = "continue"
    then: Maker | None = None
    priority: int = 0

    @job(output_schema=ContinueOutcome)
    def make(self, outcomes: list[RelaxOutcome]) -> Response[ContinueOutcome]:
        """Return a detour to what follows; as a job, when called on a maker.

        A structure that could not be relaxed is left out: its relaxation says why.
        """
        structures = relaxed_structures(connect(get_settings()), outcomes)
        failed = sum(each.state != COMPLETED for each in outcomes)
        answer = ContinueOutcome(relaxed=len(structures), failed=failed)
        if self.then is None or not structures:
            return Response(output=answer)
        flow = self.then.make(structures)
        assert isinstance(flow, Flow)  # as `then` is described
        for following, _ in flow.iterflow():  # type: ignore[no-untyped-call]
            config = following.config.manager_config
            raised = config.get("_priority", 0) + self.priority
            following.config.manager_config = {**config, "_priority": raised}
        return Response(output=answer, detour=flow)


def relaxed_structures(
    database: MongoDatabase, outcomes: Sequence[RelaxOutcome | RelaxationDoc]
) -> dict[str, LoadedStructure]:
    """Return what structures were relaxed to, by `structure_key` of the origin."""
    keys = {each.origin: each.structure_key for each in outcomes if each.structure_key is not None}
    found = SpectraStore(database).structures(keys.values())
    return {
        origin: LoadedStructure(found[key].to_structure(), found[key].source)
        for origin, key in keys.items()
    }


def relaxed(
    structure: Structure, how: RelaxationSettings, model_path: Path | None
) -> tuple[Structure, RelaxationResult]:
    """Relax a structure by atomate2's force-field maker; nothing is stored.

    Parameters
    ----------
    structure
        An ordered structure; lengths in Å.
    how
        What may change, and until when.
    model_path
        Folder with the weights.

    Raises
    ------
    CodeError
        ``relaxation_not_converged`` if forces or stress are still too large after all steps,
        ``relaxation_diverged`` if the result is no crystal any more, ``relaxation_refused`` if the
        potential does not know the structure.
    """
    reason = outside_of_m3gnet(structure)
    if reason is not None:
        raise InputRefused("relaxation_refused", reason)
    maker = _force_field_maker(structure, how, model_path)
    calculator = maker.calculator
    assert isinstance(calculator, M3GNetCalculator)  # the one that goes by _CALCULATOR
    began = time.process_time()
    before = calculator.of(structure)
    try:
        found = maker._run_ase_safe(structure)
        result = _plain(found.final_mol_or_struct)  # type: ignore[arg-type]
        after = calculator.of(result)
    except (ModelError, RuntimeError, ValueError, np.linalg.LinAlgError) as error:
        raise CodeError(
            "relaxation_diverged",
            f"{structure.composition.formula} fell apart while it was relaxed ({error}): start "
            "from a structure nearer to rest, or choose a mode that keeps the cell.",
        ) from error
    numbers = RelaxationResult(
        steps=max(calculator.evaluations - 1, 0),
        max_force=after.max_force,
        pressure=after.pressure * GPA,
        energy=after.energy / len(result),
        energy_before=before.energy / len(structure),
        volume_ratio=result.volume / structure.volume,
        length_change=float(np.abs(np.array(result.lattice.abc) / structure.lattice.abc - 1).max()),
        cpu_seconds=time.process_time() - began,
    )
    left = GPA * float(np.abs(after.stress + how.pressure / GPA * np.eye(3)).max())
    _refuse_unfit(result, how, numbers, left, converged=bool(found.converged))
    return result, numbers


def _refuse_unfit(
    result: Structure,
    how: RelaxationSettings,
    numbers: RelaxationResult,
    stress_left: float,
    *,
    converged: bool,
) -> None:
    formula = result.composition.formula
    if not converged or numbers.max_force > 1.5 * how.force_tolerance:
        raise CodeError(
            "relaxation_not_converged",
            f"{formula} is not at rest after {how.steps} steps: the largest force is "
            f"{numbers.max_force:.3g} eV/Å where {how.force_tolerance:g} is wanted, and "
            f"{stress_left:.3g} GPa of stress are left. Start from a structure nearer to rest, or "
            "choose a mode that keeps the cell.",
        )
    if (reason := refusal(result)) is not None:
        raise CodeError("relaxation_diverged", f"{formula} is no crystal once relaxed: {reason}")


def _force_field_maker(
    structure: Structure, how: RelaxationSettings, model_path: Path | None
) -> ForceFieldRelaxMaker:
    cell = how.mode == "full"
    options: dict[str, object] = {"fmax": how.force_tolerance, "final_atoms_object_file": None}
    if cell:
        options["filter_kwargs"] = {"scalar_pressure": how.pressure / GPA}
    return ForceFieldRelaxMaker(
        force_field_name=_CALCULATOR,
        calculator_kwargs={"model_path": None if model_path is None else str(model_path)},
        relax_cell=cell,
        relax_shape=how.mode == "fixed-volume",
        # Without any symmetry spglib finds nothing that could be kept.
        fix_symmetry=symmetry_dataset(structure) is not None,
        symprec=SYMPREC,
        steps=how.steps,
        relax_kwargs=options,
        optimizer_kwargs={"optimizer": "BFGS"},
    )


def _plain(structure: Structure) -> Structure:
    """Return lattice, elements and positions alone."""
    symbols = [site.specie.symbol for site in structure]
    return Structure(structure.lattice, symbols, structure.frac_coords)


def _suffix(how: RelaxationSettings) -> str:
    if how.mode != "full":
        return f"relaxed at {how.mode}"
    return f"relaxed at {how.pressure:g} GPa" if how.pressure else "relaxed"


def _outcome(document: RelaxationDoc) -> RelaxOutcome:
    return RelaxOutcome(
        relaxation_id=document.relaxation_id,
        origin=document.origin,
        structure_key=document.structure_key,
        state=document.state,
    )
