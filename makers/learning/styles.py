"""RankAAE as a job: styles that follow the descriptors of a data set's sites."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nearedge import __version__
from nearedge.errors import ModelError
from nearedge.makers.learning.describe import describe_structures, descriptors_of
from nearedge.makers.learning.rows import part_numbers
from nearedge.makers.learning.targets import targets_of
from nearedge.models.styles import (
    StyleModel,
    StyleOptions,
    StyleRows,
    judge,
    track,
    train_styles,
)
from nearedge.schemas import DatasetDoc
from nearedge.schemas.document import content_hash
from nearedge.schemas.model import Metric
from nearedge.schemas.styles import StylesDoc, StyleTrack
from nearedge.settings import Settings, get_settings
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore
from nearedge.store.operations import MongoDatabase
from nearedge.store.styles import StylesStore
from nearedge.structures.environment import DESCRIPTORS

HELD_OUT = ("val", "test")
OptionValue = bool | int | float | str


class StylesOutcome(BaseModel):
    """What a styles job returns; the styles are in the store."""

    model_config = ConfigDict(extra="forbid")

    styles_id: str
    name: str
    dataset_id: str
    seed: int
    part: str | None
    metrics: dict[str, Metric]
    training: dict[str, Metric]
    cpu_seconds: float = Field(description="Of training, without descriptors.")
    descriptor_cpu_seconds: float = Field(description="Of descriptors that were missing.")


@dataclass
class StylesMaker(Maker):
    """Train styles on a frozen data set, judge them on what is held out, and store them.

    Parameters
    ----------
    name
        The job's name.
    styles
        Their name in the store; None takes the data set's.
    parts
        Parts of the data set to learn from.
    part
        Part to judge on; None takes ``val``, then ``test``.
    descriptors
        Which descriptors are followed, in the order of the styles.
    options
        Fields of `nearedge.models.styles.StyleOptions` that differ from their defaults.
    seed
        Of every random choice.
    """

    name: str = "styles"
    styles: str | None = None
    parts: tuple[str, ...] = field(default=("train",))
    part: str | None = None
    descriptors: tuple[str, ...] = field(default=DESCRIPTORS)
    options: dict[str, OptionValue] = field(default_factory=dict)
    seed: int = 0

    @job(output_schema=StylesOutcome)
    def make(self, dataset: str) -> StylesOutcome:
        """Return the figures; as a job, when called on a maker.

        A training that was killed goes on when the job is run again on the same machine.

        Parameters
        ----------
        dataset
            Name or id of a frozen data set.

        Raises
        ------
        DatasetError
            If the data set is not what was frozen, or lacks a part.
        ModelError
            If there is too little to learn from, or an option or descriptor is unknown.
        """
        database = connect()
        frozen = DatasetStore(database).get(dataset)
        options = style_options(self.options)
        keys = sorted({row.structure_key for row in frozen.rows})
        described = describe_structures(database, keys, frozen.absorber)
        card = train_dataset(
            database,
            frozen,
            name=self.styles or frozen.name,
            parts=list(self.parts),
            part=self.part,
            descriptors=tuple(self.descriptors),
            options=options,
            seed=self.seed,
            settings=get_settings(),
        )
        return StylesOutcome(
            styles_id=card.styles_id,
            name=card.name,
            dataset_id=card.dataset_id,
            seed=card.seed,
            part=card.part,
            metrics=card.metrics,
            training=card.training,
            cpu_seconds=card.cpu_seconds,
            descriptor_cpu_seconds=described.cpu_seconds,
        )


def style_options(given: dict[str, OptionValue]) -> StyleOptions:
    """Check options.

    Raises
    ------
    ModelError
        If one is unknown or has no sense.
    """
    try:
        return StyleOptions.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            f"The option {name} is refused ({first['msg']}); there are: "
            f"{', '.join(StyleOptions.model_fields)}."
        ) from None


def train_dataset(
    database: MongoDatabase,
    dataset: DatasetDoc,
    *,
    name: str,
    parts: Sequence[str],
    part: str | None,
    descriptors: tuple[str, ...],
    options: StyleOptions,
    seed: int,
    settings: Settings,
) -> StylesDoc:
    """Train, judge and store styles; see `StylesMaker`. Descriptors must be in the store."""
    part = part or next((p for p in HELD_OUT if p in dataset.split and p not in parts), None)
    if part in parts:
        raise ModelError(f"Styles that learn from the part {part!r} cannot be judged on it.")
    learned = part_numbers(dataset, parts)
    held_out = [] if part is None else part_numbers(dataset, [part])
    targets = targets_of(database, dataset)
    values = descriptors_of(database, dataset, descriptors)
    rows = StyleRows(targets[learned], values[learned], descriptors)
    started = time.process_time()
    folder = _checkpoints(settings, dataset, parts, descriptors, options, seed)
    model, history = train_styles(rows, options, seed=seed, checkpoints=folder)
    cpu_seconds = time.process_time() - started
    groups = [row.group for row in dataset.rows]
    known = judge(model, rows, [groups[n] for n in learned], seed=seed)
    verdict = known
    if held_out:
        unseen = StyleRows(targets[held_out], values[held_out], descriptors)
        verdict = judge(model, unseen, [groups[n] for n in held_out], seed=seed)
    weights = model.to_bytes()
    sha256 = hashlib.sha256(weights).hexdigest()
    card = StylesDoc(
        styles_id=sha256[:32],
        name=name,
        absorber=dataset.absorber,
        edge=dataset.edge,
        code=dataset.code,
        protocol=dataset.protocol,
        dataset_id=dataset.dataset_id,
        unit=dataset.unit,
        grid=dataset.grid,
        parts=list(parts),
        part=part,
        options=model.options.model_dump(),
        seed=seed,
        scale=model.scale,
        style_names=list(model.style_names),
        undefined={
            each: int(np.isnan(column).sum())
            for each, column in zip(descriptors, rows.descriptors.T, strict=True)
        },
        training=known.metrics,
        metrics=verdict.metrics if held_out else {},
        correlations=verdict.correlations.tolist(),
        history=history,
        tracks=_tracks(model, rows),
        training_rows=len(learned),
        cpu_seconds=cpu_seconds,
        code_version=__version__,
        weights_sha256=sha256,
    )
    return StylesStore(database).put(card, weights)


def _checkpoints(
    settings: Settings,
    dataset: DatasetDoc,
    parts: Sequence[str],
    descriptors: Sequence[str],
    options: StyleOptions,
    seed: int,
) -> Path:
    """Return this training's own folder: two that run at once do not meet."""
    what = [dataset.dataset_id, list(parts), list(descriptors), options.model_dump(), seed]
    return settings.home / "training" / f"styles-{content_hash(what)[:16]}"


def _tracks(model: StyleModel, rows: StyleRows) -> list[StyleTrack]:
    tracks = []
    for number, name in enumerate(model.style_names):
        found = track(model, rows, number)
        tracks.append(
            StyleTrack(
                style=name,
                values=found.values.tolist(),
                descriptor=[None if np.isnan(each) else float(each) for each in found.descriptor],
                decoded=found.decoded.tolist(),
                observed=found.observed.tolist(),
            )
        )
    return tracks
