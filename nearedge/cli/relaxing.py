"""`--relax`: structures are relaxed before anything is computed on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from nearedge.cli.console import counted, only_data_on_stdout, say, show, show_json
from nearedge.errors import LaunchError, StructureError

if TYPE_CHECKING:
    from jobflow.core.maker import Maker

    from nearedge.makers.relax import RelaxMaker
    from nearedge.schemas.relaxation import RelaxMode
    from nearedge.structures.source import LoadedStructure, Refusal


def relaxation(
    model: str | None,
    mode: RelaxMode | None,
    pressure: float | None,
    *,
    project: str,
    rerun_failed: bool,
) -> RelaxMaker | None:
    """Return how structures are relaxed, as `--relax` and the options beside it say, or None.

    Raises
    ------
    InputRefused
        If a pressure is given for a cell that does not give way.
    """
    if model is None:
        if mode is not None or pressure is not None:
            which = "--pressure" if mode is None else "--relax-mode"
            raise typer.BadParameter("it says how to relax: add --relax m3gnet.", param_hint=which)
        return None
    from nearedge.makers.relax import RelaxMaker

    return RelaxMaker(
        mode=mode or "full", pressure=pressure or 0.0, project=project, rerun_failed=rerun_failed
    )


def relaxed_here(
    structures: Sequence[LoadedStructure],
    maker: RelaxMaker,
    *,
    workers: int | None = None,
    may_run: bool = True,
) -> list[LoadedStructure]:
    """Return structures as they are once relaxed, in their order; relax here those that are not.

    Raises
    ------
    StructureError
        If one cannot be relaxed, or is not and nothing may run.
    LaunchError
        If one is still not relaxed when the queue is empty.
    """
    from nearedge.cli.running import work_for_command
    from nearedge.launch.queue_state import JobKind
    from nearedge.settings import get_settings
    from nearedge.structures.source import LoadedStructure
    from nearedge.workflows.relax import Unrelaxed, enqueue_relaxations, look_up

    settings = get_settings()
    looked = look_up(structures, maker, settings)
    waiting = [each.loaded for each in looked if isinstance(each, Unrelaxed)]
    if waiting and may_run and not _refusals(looked):
        say(f"{counted(len(waiting), 'structure')} to relax first.")
        groups = [[each] for each in waiting]
        enqueue_relaxations(groups, maker, None, settings=settings)
        about = {"kind": JobKind.RELAX.value, "project": maker.project or ""}
        work_for_command(settings, workers or settings.workers, about, title="Relaxing")
        looked = look_up(structures, replace(maker, rerun_failed=False), settings)
    for refused in _refusals(looked):
        raise StructureError(f"{refused.label} cannot be relaxed: {refused.reason}")
    found = [each for each in looked if isinstance(each, LoadedStructure)]
    if len(found) < len(looked):
        why = "`nearedge status` shows why" if may_run else "leave out --no-run"
        left = counted(len(looked) - len(found), "structure")
        raise LaunchError(f"{left} not relaxed yet: {why}.")
    return found


def enqueue_relaxed(
    structures: Sequence[LoadedStructure],
    maker: RelaxMaker,
    then: Maker,
    *,
    as_json: bool,
) -> None:
    """Add one workflow that relaxes the structures and goes on with `then`, and say so.

    Raises
    ------
    StructureError
        If it is known that one cannot be relaxed.
    """
    from nearedge.settings import get_settings
    from nearedge.workflows.relax import enqueue_relaxations, look_up

    settings = get_settings()
    with only_data_on_stdout():
        for refused in _refusals(look_up(structures, maker, settings)):
            raise StructureError(f"{refused.label} cannot be relaxed: {refused.reason}")
        added, already = enqueue_relaxations([structures], maker, then, settings=settings)
    if as_json:
        show_json({"relaxing": len(structures), "workflows": added, "queued": already})
        return
    first = f"relaxes {counted(len(structures), 'structure')} and then goes on with them"
    show(f"One workflow {'was added' if added else 'is queued already'} that {first}.")
    say("`nearedge run` or `nearedge queue` works it.")


def _refusals(looked: Sequence[object]) -> list[Refusal]:
    from nearedge.structures.source import Refusal

    return [each for each in looked if isinstance(each, Refusal)]
