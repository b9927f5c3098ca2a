"""What the demo does, through the same jobs and flows as everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jobflow.core.flow import Flow
from jobflow.core.job import Job
from jobflow.managers.fireworks import flow_to_workflow
from monty.json import MontyDecoder

from nearedge.cli.running import Display, Worked, work_the_queue
from nearedge.cli.watching import Ended
from nearedge.codes.protocols import load_protocol
from nearedge.errors import LaunchError, WeightsError
from nearedge.launch.fireworks import SPEC_KEY, job_store, launchpad
from nearedge.launch.queue_state import PENDING
from nearedge.launch.submission import add_workflows
from nearedge.makers.learning.featurize import FeaturizeMaker, featurizer_of
from nearedge.makers.learning.freeze import FreezeMaker
from nearedge.makers.learning.predict import PredictMaker
from nearedge.makers.learning.train import TrainMaker, TrainOutcome
from nearedge.models.prediction import StructurePrediction
from nearedge.schemas import ModelCard, SpectrumKind
from nearedge.settings import Settings
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore, ModelStore
from nearedge.store.operations import MongoDatabase, database_errors
from nearedge.store.queries import SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.builtin import builtin_structures
from nearedge.structures.source import LoadedStructure
from nearedge.workflows import campaign
from nearedge.workflows.campaign import SubmissionReport
from nearedge.workflows.learn import LearnFlowMaker

PROJECT = "demo"
CODE, PROTOCOL, EDGE = "feff", "fast", "K"
ABSORBERS = ("Ti", "Cu")
UNSEEN = "brookite"
"""Never computed here: the model of titanium says what its spectrum would be."""


@dataclass(frozen=True)
class Task:
    """One absorber: the structures to compute, and those to predict only."""

    absorber: str
    computed: list[LoadedStructure]
    unseen: list[LoadedStructure]

    @property
    def query(self) -> SpectrumQuery:
        """The spectra that the model of this absorber learns from."""
        return SpectrumQuery(
            absorber=self.absorber,
            edge=EDGE,
            code=CODE,
            protocol=load_protocol(CODE, PROTOCOL).label,
            project=PROJECT,
        )

    @property
    def dataset(self) -> str:
        """Name of the data set, and of the model."""
        return f"{PROJECT}-{self.absorber}"


@dataclass(frozen=True)
class Learned:
    """A model of one absorber, and what it says of structures that it has not seen."""

    task: Task
    outcome: TrainOutcome
    card: ModelCard
    predictions: list[StructurePrediction] = field(default_factory=list)


def tasks() -> list[Task]:
    """Return what the demo computes and predicts, from the built-in structures."""
    found = []
    for absorber in ABSORBERS:
        having = [
            loaded
            for loaded in builtin_structures()
            if absorber in loaded.structure.composition.chemical_system.split("-")
        ]
        computed = [each for each in having if each.source.label != UNSEEN]
        unseen = [each for each in having if each.source.label == UNSEEN]
        found.append(Task(absorber, computed, unseen))
    return found


def refuse_a_busy_queue(settings: Settings) -> None:
    """Raise if workers started here would take jobs that are not the demo's.

    Raises
    ------
    LaunchError
        Saying how many there are.
    """
    others = {"state": {"$in": list(PENDING)}, f"spec.{SPEC_KEY}.project": {"$ne": PROJECT}}
    with database_errors():
        count = launchpad(settings).fireworks.count_documents(others)
    if count:
        raise LaunchError(
            f"The queue holds {count} jobs besides the demo's, and its workers would take them: "
            "work them with `nearedge run` first, or give the demo a NEAREDGE_HOME of its own."
        )


def submit(settings: Settings, wanted: list[Task]) -> SubmissionReport:
    """Submit every structure that is computed; what is known costs nothing."""
    new = known = queued = 0
    for task in wanted:
        report = campaign.submit(
            task.computed,
            absorber=task.absorber,
            edge=EDGE,
            codes=[CODE],
            protocol=PROTOCOL,
            project=PROJECT,
            settings=settings,
        )
        new, known, queued = new + report.new, known + report.known, queued + report.queued
    return SubmissionReport(new, known, queued)


def learn(
    settings: Settings,
    wanted: list[Task],
    display: Display,
    *,
    tell: Callable[[Ended], None] | None,
    notice: Callable[[str], None],
) -> tuple[list[Learned], Worked | None]:
    """Train a model per absorber and predict, unless that was done with the same spectra before.

    Parameters
    ----------
    notice
        Told that CHGNet stands in, if M3GNet's weights cannot be had.

    Returns
    -------
    list of Learned
        Of each absorber whose model could be trained.
    Worked or None
        What the workers did; None where nothing was left to do.
    """
    database = connect(settings)
    known = {task.absorber: remembered(settings, database, task) for task in wanted}
    names = {each.card.featurizer.name for each in known.values() if each is not None}
    worked = None
    if None in known.values() or names != {"m3gnet"}:
        featurizer = _featurizer(notice)
        missing = [
            task
            for task in wanted
            if (found := known[task.absorber]) is None or found.card.featurizer.name != featurizer
        ]
        if missing:
            flows = [flow_to_workflow(_flow(task, featurizer)) for task in missing]
            with database_errors():
                add_workflows(launchpad(settings), flows)
            worked = work_the_queue(
                settings, settings.workers, display, title="Learning", tell=tell
            )
            known |= {task.absorber: remembered(settings, database, task) for task in missing}
    return [each for each in known.values() if each is not None], worked


def remembered(settings: Settings, database: MongoDatabase, task: Task) -> Learned | None:
    """Return what was learned from exactly the spectra that are there now, or None."""
    store = job_store(settings)
    with database_errors():
        store.connect()
        about = {f"metadata.{SPEC_KEY}.project": PROJECT, f"metadata.{SPEC_KEY}.of": task.absorber}
        predicted = list(
            store.query(
                {**about, f"metadata.{SPEC_KEY}.kind": "predict"},
                sort={"completed_at": -1},
                limit=1,
            )
        )
        if not predicted:
            return None
        train = predicted[0]["metadata"][SPEC_KEY]["train"]
        trained = list(store.query({"uuid": train}, limit=1))
    if not trained:
        return None
    outcome: TrainOutcome = MontyDecoder().process_decoded(trained[0]["output"])
    rows = DatasetStore(database).get(outcome.dataset_id).rows
    sites = SpectraStore(database).listing(
        task.query.model_copy(update={"kind": SpectrumKind.SITE})
    )
    if {row.spectrum_id for row in rows} != {site.spectrum_id for site in sites}:
        return None
    predictions = MontyDecoder().process_decoded(predicted[0]["output"])
    card = ModelStore(database).card(outcome.model_id)
    return Learned(task, outcome, card, predictions)


def _featurizer(notice: Callable[[str], None]) -> str:
    """Return m3gnet where its weights can be had, else chgnet after a notice."""
    try:
        featurizer_of("m3gnet")
    except WeightsError as error:
        notice(f"{error} The demo goes on with CHGNet's features.")
        return "chgnet"
    return "m3gnet"


def _flow(task: Task, featurizer: str) -> Flow:
    """Return featurize → freeze → train → evaluate → predict for one absorber."""
    learning = LearnFlowMaker(
        featurize_maker=FeaturizeMaker(featurizer=featurizer),
        freeze_maker=FreezeMaker(dataset=task.dataset),
        train_maker=TrainMaker(model=task.dataset),
    ).make(task.query)
    train = next(job for job in learning.jobs if job.name == "train")
    predict = PredictMaker(absorber=task.absorber).make(
        train.output.model_id,
        [each.structure for each in task.unseen],
        [each.source.label for each in task.unseen],
    )
    for job in learning.jobs:
        _describe(job, job.name, task)
    _describe(predict, "predict", task, train=train.uuid)
    return Flow([learning, predict], name=f"{PROJECT} {task.absorber}")


def _describe(job: Flow | Job, kind: str, task: Task, **more: str) -> None:
    about = {"kind": kind, "label": f"{kind} {task.absorber}", "project": PROJECT}
    job.update_metadata({SPEC_KEY: {**about, "of": task.absorber, **more}})
