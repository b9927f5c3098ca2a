"""`learn`: from stored spectra to judged models, as jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import only_data_on_stdout, show, show_json, show_table
from nearedge.cli.models import metric_text
from nearedge.cli.training import (
    FeaturizerSpec,
    Folds,
    HeadName,
    ModelName,
    Seed,
    Set,
    head_options,
    usual_featurizer,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearedge.makers.learning.evaluate import EvaluateOutcome
    from nearedge.settings import Settings
    from nearedge.store.queries import SpectrumQuery
    from nearedge.workflows.learn import LearnFlowMaker


def learn(
    dataset: Annotated[
        str, typer.Argument(help="What the data set, or the first part of their names, will be.")
    ],
    absorber: Annotated[
        str, typer.Option(help="Absorbing elements, as Ti,Cu; several make a universal model.")
    ],
    code: Annotated[str, typer.Option(help="Codes that computed the spectra, as a,b.")] = "feff",
    protocol: Annotated[
        str | None, typer.Option(help="Of the spectra; needed where there are several.")
    ] = None,
    edge: Annotated[str | None, typer.Option(help="K, L1, L2 or L3; default: any.")] = None,
    project: opt.ProjectFilter = None,
    split: Annotated[
        Literal["random", "stratified", "formula", "all"],
        typer.Option(help="How rows are divided; as `dataset create` has it."),
    ] = "stratified",
    head: HeadName = "kernel",
    settings_of_head: Set = None,
    featurizer: FeaturizerSpec = None,
    name: ModelName = None,
    finetune: Annotated[
        bool | None,
        typer.Option(
            "--finetune/--no-finetune",
            help="Go on with each element alone; default: of several, where the head can.",
            show_default=False,
        ),
    ] = None,
    folds: Folds = 0,
    seed: Seed = 0,
    featurize_jobs: Annotated[
        int,
        typer.Option(
            "--featurize-jobs",
            min=1,
            max=1000,
            help="Jobs that share the structures of an element.",
        ),
    ] = 1,
    workers: opt.Workers = None,
    queue_only: Annotated[
        bool, typer.Option("--queue-only", help="Add it to the queue; `nearedge run` works it.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Learn from stored spectra: features, data sets, a model, one for each element, judgement.

    Each step is a job. The same command again goes on where it was stopped, and computes nothing
    that is known.
    """
    opt.checked_project(dataset)
    from nearedge.models.heads import head_kind
    from nearedge.settings import get_settings
    from nearedge.workflows.learn import submit_learning

    settings = get_settings()
    queries = _queries(absorber, code, protocol, edge, project)
    if finetune and len(queries) == 1:
        raise typer.BadParameter(
            "one data set gives one model: name several elements or codes.",
            param_hint="--finetune",
        )
    maker = _flow(
        dataset,
        head=head,
        settings_of_head=settings_of_head or [],
        featurizer=featurizer or usual_featurizer(head),
        name=opt.checked_project(name),
        folds=folds,
        seed=seed,
        split=split,
        featurize_jobs=featurize_jobs,
        finetune=len(queries) > 1 and head_kind(head).fine_tunes if finetune is None else finetune,
    )
    with only_data_on_stdout():
        identifier, state = submit_learning(maker, queries, settings)
    if queue_only:
        if as_json:
            show_json({"learn_id": identifier, "state": state})
        else:
            show(f"Learning {identifier}: {state.replace('_', ' ')}; `nearedge run` works it.")
        return
    outcomes = _work(identifier, settings, workers)
    if as_json:
        show_json([outcome.model_dump(mode="json") for outcome in outcomes])
        return
    _tell(outcomes)


def _queries(
    absorbers: str, codes: str, protocol: str | None, edge: str | None, project: str | None
) -> list[SpectrumQuery]:
    """Return a query for each element and code."""
    from nearedge.cli.selection import Filters

    elements = opt.separated(absorbers)
    named = opt.named_codes(codes, "--code")
    if not elements:
        raise typer.BadParameter("name at least one element.", param_hint="--absorber")
    for given, option in ((elements, "--absorber"), (named, "--code")):
        if twice := sorted({each for each in given if given.count(each) > 1}):
            raise typer.BadParameter(f"{twice[0]} stands twice.", param_hint=option)
    return [
        Filters(
            absorber=element, edge=edge, code=code, protocol=protocol, project=project
        ).spectra()
        for element in elements
        for code in named
    ]


def _flow(
    dataset: str,
    *,
    head: str,
    settings_of_head: Sequence[str],
    featurizer: str,
    name: str | None,
    folds: int,
    seed: int,
    split: Literal["random", "stratified", "formula", "all"],
    featurize_jobs: int,
    finetune: bool,
) -> LearnFlowMaker:
    from nearedge.makers.learning.featurize import FeaturizeMaker
    from nearedge.makers.learning.freeze import FreezeMaker
    from nearedge.makers.learning.splits import Split
    from nearedge.makers.learning.train import TrainMaker
    from nearedge.workflows.learn import LearnFlowMaker

    train_maker = TrainMaker(
        model=name,
        head=head,
        options=head_options(settings_of_head),
        featurizer=featurizer,
        folds=folds,
        seed=seed,
    )
    return LearnFlowMaker(
        featurize_maker=FeaturizeMaker(featurizer=featurizer),
        freeze_maker=FreezeMaker(dataset=dataset, split=Split(kind=split, seed=seed)),
        train_maker=train_maker,
        finetune_maker=train_maker if finetune else None,
        featurize_jobs=featurize_jobs,
    )


def _work(identifier: str, settings: Settings, workers: int | None) -> list[EvaluateOutcome]:
    """Work the queue as far as it is about this flow, and return how good its models are."""
    from nearedge.cli.running import work_for_command
    from nearedge.errors import ModelError
    from nearedge.workflows.learn import learning_outcomes

    about = {"learn_id": identifier}
    done = work_for_command(settings, workers or settings.workers, about, title="Learning")
    if done.left or done.failures:
        raise ModelError(
            f"Learning {identifier} has not come to its end: `nearedge status` shows why; the same "
            "command goes on where it stopped."
        )
    return learning_outcomes(identifier, settings)


def _tell(outcomes: Sequence[EvaluateOutcome]) -> None:
    rows = []
    for each in outcomes:
        figures = [
            metric_text(each.metrics[figure]) if figure in each.metrics else ""
            for figure in ("spectra", "eta", "mean_mse")
        ]
        rows.append([each.name, each.dataset_id[:12], each.part, *figures])
    show_table(["Model", "Data set", "Judged on", "Spectra", "η", "Mean MSE"], rows)
    show("`nearedge evaluate MODEL --output FILE` writes a page about a model.")
