"""`train`, `finetune`, `search`: make models from frozen data sets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import only_data_on_stdout, progress, say, show, show_json, show_table
from nearedge.cli.models import metric_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearedge.makers.learning.search import SearchOutcome
    from nearedge.makers.learning.train import TrainMaker, TrainOutcome
    from nearedge.schemas.trial import Dimension, Scalar
    from nearedge.settings import Settings

Datasets = Annotated[
    list[str],
    typer.Argument(
        help="Name or id of a frozen data set; several, one for each element and code, make a "
        "universal model.",
        metavar="DATASET...",
        show_default=False,
    ),
]
HeadName = Annotated[
    str, typer.Option("--head", help="kernel, xasblock, residual, ensemble, average …")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="An option of the head; may be repeated."),
]
FeaturizerSpec = Annotated[
    str | None,
    typer.Option(
        help="m3gnet, chgnet, soap:4, acsf, radial, blocks as m3gnet:1,2,3, sums by +, or the "
        "recipe `default`. Default: that recipe for the kernel, m3gnet for other heads."
    ),
]
ModelName = Annotated[str | None, typer.Option(help="Name of the model; default: the data set's.")]
Parts = Annotated[str, typer.Option(help="Parts to learn from, as a,b.")]
Folds = Annotated[
    int,
    typer.Option(
        min=0,
        help="Train so many times more to see how materials left out are predicted, for heads that "
        "cannot tell by themselves.",
    ),
]
Seed = Annotated[int, typer.Option(help="Of every random choice.")]
Again = Annotated[bool, typer.Option("--again", help="Train although the same was trained.")]
InputDataset = Annotated[
    str | None,
    typer.Option(
        "--input-dataset",
        help="Data set of another code or protocol: its spectra of the same sites are an input.",
    ),
]
InputModel = Annotated[
    str | None,
    typer.Option("--input-model", help="Model whose predicted spectra are an input."),
]

FeatureWorkers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes that compute features; default: the setting `workers`.",
        show_default=False,
    ),
]

_CHANGE = re.compile(r"([A-Za-z_]\w*)=(.+)", re.DOTALL)


def train(
    datasets: Datasets,
    head: HeadName = "kernel",
    settings_of_head: Set = None,
    featurizer: FeaturizerSpec = None,
    name: ModelName = None,
    parts: Parts = "train",
    parent: Annotated[
        str | None,
        typer.Option(help="Model to start from; head, features and inputs are then its own."),
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(
            help="What the head takes beside features: element,fidelity or none; default: those "
            "in which the data sets differ."
        ),
    ] = None,
    input_dataset: InputDataset = None,
    input_model: InputModel = None,
    folds: Folds = 0,
    seed: Seed = 0,
    again: Again = False,
    workers: FeatureWorkers = None,
    as_json: opt.Json = False,
) -> None:
    """Train a model on data sets and put it into the registry.

    The same training is done once; one that was stopped goes on where it was.
    """
    from nearedge.makers.learning.train import TrainMaker

    maker = TrainMaker(
        model=opt.checked_project(name),
        head=head,
        options=head_options(settings_of_head or []),
        featurizer=featurizer or usual_featurizer(head),
        inputs=None if inputs is None else tuple(opt.separated(inputs.replace("none", ""))),
        parts=_parts(parts),
        folds=folds,
        seed=seed,
        again=again,
    )
    _train(maker, datasets, parent, input_dataset, input_model, workers=workers, as_json=as_json)


def usual_featurizer(head: str) -> str:
    """Return what serves a head best: the kernel weighs many blocks, a network takes one."""
    return "default" if head == "kernel" else "m3gnet"


def finetune(
    model: Annotated[str, typer.Argument(help="Name or id of the model to start from.")],
    dataset: Annotated[str, typer.Argument(help="Name or id of a frozen data set.")],
    settings_of_head: Set = None,
    name: ModelName = None,
    parts: Parts = "train",
    folds: Folds = 0,
    seed: Seed = 0,
    again: Again = False,
    workers: FeatureWorkers = None,
    as_json: opt.Json = False,
) -> None:
    """Go on training a model on another data set, such as a universal one on one element."""
    from nearedge.makers.learning.train import TrainMaker

    maker = TrainMaker(
        model=opt.checked_project(name),
        options=head_options(settings_of_head or []),
        parts=_parts(parts),
        folds=folds,
        seed=seed,
        again=again,
    )
    _train(maker, [dataset], model, None, None, workers=workers, as_json=as_json)


def search(
    datasets: Datasets,
    head: HeadName = "kernel",
    settings_of_head: Set = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="NAME=RANGE",
            help="An option to vary: low:high, low:high:log or a,b,c; default: every number, by a "
            "factor of four either way.",
        ),
    ] = None,
    featurizer: FeaturizerSpec = None,
    name: ModelName = None,
    parts: Parts = "train",
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    budget: Annotated[
        float | None,
        typer.Option(min=0, help="CPU seconds after which no further trial begins."),
    ] = None,
    folds: Folds = 0,
    seed: Seed = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers; default: the setting `workers`.")
    ] = None,
    queue_only: Annotated[
        bool, typer.Option("--queue-only", help="Add it to the queue; `nearedge run` works it.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Search a head's options by materials left out, train the best, and register it.

    Each trial is a job; what they find is kept, so a search that was stopped goes on with the same
    command, and one with more trials or a larger budget goes further.
    """
    from nearedge.makers.learning.train import TrainMaker
    from nearedge.settings import get_settings
    from nearedge.workflows.search import SearchFlowMaker, submit_search

    settings = get_settings()
    maker = SearchFlowMaker(
        train_maker=TrainMaker(
            model=opt.checked_project(name),
            head=head,
            options=head_options(settings_of_head or []),
            featurizer=featurizer or usual_featurizer(head),
            parts=_parts(parts),
            folds=folds,
            seed=seed,
        ),
        space=_space(head, vary or []),
        trials=trials,
        budget=budget,
    )
    with only_data_on_stdout():
        identifier, state = submit_search(maker, datasets, settings)
    if queue_only:
        if as_json:
            show_json({"search_id": identifier, "state": state})
        else:
            show(f"Search {identifier}: {state.replace('_', ' ')}; `nearedge run` works it.")
        return
    _tell_search(_work(identifier, settings, workers), as_json=as_json)


def _train(
    maker: TrainMaker,
    datasets: Sequence[str],
    parent: str | None,
    input_dataset: str | None,
    input_model: str | None,
    *,
    workers: int | None,
    as_json: bool,
) -> None:
    from nearedge.cli.applying import featurize_stored
    from nearedge.cli.jobs_here import run_here
    from nearedge.makers.learning.plan import checked_head
    from nearedge.makers.learning.rows import part_numbers
    from nearedge.settings import get_settings
    from nearedge.store.connection import connect
    from nearedge.store.learned import DatasetStore, ModelStore

    settings = get_settings()
    database = connect(settings)
    frozen = [DatasetStore(database).get(each) for each in datasets]
    for each in frozen:
        part_numbers(each, maker.parts)
    head, featurizer = maker.head, maker.featurizer
    if parent is not None:
        card = ModelStore(database).card(parent)
        head, featurizer = card.head, card.featurizer.name
    # Before the features, which can take hours.
    checked_head(head, maker.options, maker.folds)
    keys = sorted({row.structure_key for each in frozen for row in each.rows})
    with only_data_on_stdout():
        with progress("Featurizing", len(keys)) as step:
            featurize_stored(featurizer, keys, settings, step, workers=workers)
        job = maker.make(
            [each.dataset_id for each in frozen],
            parent=parent,
            input_dataset=input_dataset,
            input_model=input_model,
        )
        outcome = run_here(job, settings)
    if as_json:
        show_json(outcome.model_dump(mode="json"))
        return
    _tell_training(outcome)


def _tell_training(outcome: TrainOutcome) -> None:
    start = f"Model {outcome.name} ({outcome.model_id})"
    if outcome.known:
        show(f"{start} had learned {outcome.training_rows} sites before; nothing was trained.")
    else:
        show(
            f"{start} learned {outcome.training_rows} sites in {outcome.cpu_seconds:.1f} CPU "
            "seconds."
        )
    if outcome.without_features:
        first = ", ".join(outcome.without_features[:3])
        say(f"{len(outcome.without_features)} sites were left aside, such as {first}.")
    show_table(
        ["Metric", "Value"], [[name, metric_text(each)] for name, each in outcome.metrics.items()]
    )


def _work(identifier: str, settings: Settings, workers: int | None) -> SearchOutcome:
    """Work the queue as far as it is about this search, and return what came of it."""
    from nearedge.cli.running import work_for_command
    from nearedge.errors import ModelError
    from nearedge.workflows.search import search_outcome

    about = {"search_id": identifier}
    work_for_command(settings, workers or settings.workers, about, title="Searching")
    outcome = search_outcome(identifier, settings)
    if outcome is None:
        raise ModelError(
            f"The search {identifier} has not come to its end: `nearedge status` shows why; the "
            "same command goes on where it stopped."
        )
    return outcome


def _tell_search(outcome: SearchOutcome, *, as_json: bool) -> None:
    if as_json:
        show_json(outcome.model_dump(mode="json"))
        return
    best = " ".join(f"{name}={value}" for name, value in outcome.best.asked.items())
    show(
        f"{outcome.completed} trials in {outcome.cpu_seconds:.0f} CPU seconds, {outcome.failed} "
        f"failed, {outcome.over_budget} beyond the budget. The best, number "
        f"{outcome.best.number}: {best} with a mean squared error of {outcome.best.score:.4g}."
    )
    _tell_training(outcome.trained)


def _parts(given: str) -> tuple[str, ...]:
    parts = tuple(opt.separated(given))
    if not parts:
        raise typer.BadParameter("name at least one part.", param_hint="--parts")
    return parts


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        match = _CHANGE.fullmatch(text)
        if match is None:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint=option)
        name, value = match.groups()
        if name in found:
            raise typer.BadParameter(f"{name} stands twice.", param_hint=option)
        found[name] = value
    return found


def head_options(given: Sequence[str]) -> dict[str, Scalar]:
    """Return options as text: the head knows of what kind each is."""
    return dict(_pairs(given, "--set"))


def _space(head: str, given: Sequence[str]) -> list[Dimension]:
    from pydantic import ValidationError

    from nearedge.models.heads import head_kind
    from nearedge.schemas.trial import Dimension

    fields = head_kind(head).options.model_fields
    space = []
    for name, text in _pairs(given, "--vary").items():
        if name not in fields:
            raise typer.BadParameter(
                f"the head {head} has no option {name}, only {', '.join(fields)}.",
                param_hint="--vary",
            )
        kinds = {fields[name].annotation, *get_args(fields[name].annotation)}
        try:
            ends = text.split(":")
            if len(ends) in (2, 3) and ends[2:] in ([], ["log"]):
                dimension = Dimension(
                    name=name,
                    low=float(ends[0]),
                    high=float(ends[1]),
                    log=len(ends) == 3,
                    whole=int in kinds and float not in kinds,
                )
            else:
                dimension = Dimension(name=name, choices=list(opt.separated(text)))
        except (ValidationError, ValueError) as error:
            raise typer.BadParameter(
                f"{name}={text} is no range: write low:high, low:high:log or a,b,c ({error}).",
                param_hint="--vary",
            ) from None
        space.append(dimension)
    return space
