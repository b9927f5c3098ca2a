"""The model card: what a model is, what it was made from, how good it is."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from nearedge.schemas.dataset import GridDoc
from nearedge.schemas.document import Document
from nearedge.spectra.spectrum import AbsorptionUnit


class FeaturizerRef(BaseModel):
    """Which featurizer, with which weights and options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    weights_sha256: str | None
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    size: int = Field(description="Numbers per site.")
    parts: tuple[FeaturizerRef, ...] = Field(
        (), description="The featurizers whose features stand side by side here, if it is a sum."
    )

    @model_serializer(mode="wrap")
    def _leave_out_no_parts(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write a single featurizer as before there were sums: stored features bear its hash."""
        written: dict[str, Any] = write(self)
        if not self.parts:
            written.pop("parts", None)
        return written


class Metric(BaseModel):
    """A figure with its 95 % interval, where one was computed."""

    # Infinite where a model made no error: JSON has no word for it but a string.
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    value: float
    low: float | None = None
    high: float | None = None


class TrainingSet(BaseModel):
    """One of the frozen data sets that a model learned from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset_id: str
    absorber: str
    code: str
    protocol: str
    grid: GridDoc
    rows: int = Field(description="Sites of it that were learned.")

    @property
    def fidelity(self) -> str:
        """What the block `fidelity` counts: a code with its protocol."""
        return f"{self.code} {self.protocol}"

    @property
    def label(self) -> str:
        """Element and fidelity, by which a model's data sets are told apart."""
        return f"{self.absorber} {self.fidelity}"


class ModelCard(Document):
    """The card of a trained model."""

    collection: ClassVar[str] = "models"
    id_field: ClassVar[str] = "model_id"

    model_id: str = Field(description="Hash of name, what was trained, and weights.")
    name: str
    head: str = Field(description="Kind of head, such as `kernel`.")
    absorber: str = Field(description="Several of a universal model as Co,Cu.")
    edge: str
    code: str = Field(description="Several as feff,vasp.")
    protocol: str
    dataset_id: str
    featurizer: FeaturizerRef
    unit: AbsorptionUnit
    grid: GridDoc = Field(description="Of the first data set where there are several.")
    hyperparameters: dict[str, bool | int | float | str]
    metrics: dict[str, Metric]
    training_rows: int
    cpu_seconds: float
    code_version: str = Field(description="Version of nearedge that trained it.")
    parent: str | None = Field(None, description="model_id that it was fine-tuned from.")
    weights_sha256: str
    weights_blob: str | None = Field(None, description="Blob id in the store; None in a folder.")
    training_id: str = Field("", description="Hash of what was trained, and how.")
    training_sets: list[TrainingSet] = Field(
        default_factory=list, description="Empty in cards of releases that knew one only."
    )
    inputs: dict[str, int] = Field(
        default_factory=dict,
        description="Blocks that the head takes after the structure's features, with widths: "
        "`element`, `fidelity`, `spectrum:<code>`.",
    )
    fidelities: list[str] = Field(
        default_factory=list, description="What the numbers of the block `fidelity` stand for."
    )
    input_dataset: str | None = Field(None, description="Data set of the spectra it takes.")
    input_model: str | None = Field(None, description="Model that predicts the spectra it takes.")
    seeds: dict[str, int] = Field(default_factory=dict)
    licences: dict[str, str] = Field(
        default_factory=dict, description="Of the pretrained weights behind the features, by name."
    )
    left_out_blob: str | None = Field(
        None, description="Blob of the training rows predicted with their material left out."
    )
    digest: str | None = Field(
        None, description="SHA-256 of everything else on the card that is not None or a default."
    )

    @property
    def learned_from(self) -> list[TrainingSet]:
        """Its data sets, one or more, also for cards of older releases."""
        return self.training_sets or [
            TrainingSet(
                dataset_id=self.dataset_id,
                absorber=self.absorber,
                code=self.code,
                protocol=self.protocol,
                grid=self.grid,
                rows=self.training_rows,
            )
        ]

    @property
    def takes_spectra(self) -> bool:
        """Whether it takes spectra by another code or protocol as an input."""
        return any(name.startswith("spectrum:") for name in self.inputs)

    @property
    def absorbers(self) -> list[str]:
        """Elements that it predicts."""
        return sorted({each.absorber for each in self.learned_from})

    def of_absorber(self, absorber: str, code: str | None = None) -> TrainingSet | None:
        """Return the data set that spectra of `absorber` are predicted like, or None.

        Parameters
        ----------
        code
            None takes the one learned last, which is the best where there are several.
        """
        found = [
            each
            for each in self.learned_from
            if each.absorber == absorber and code in (None, each.code)
        ]
        return found[-1] if found else None

    def content_digest(self) -> str:
        """Return what `digest` must be.

        Where the store keeps things is no content. Defaults are left out, so that a card of today
        has the same digest in a release that knows further fields.
        """
        kept_apart = {"digest", "weights_blob", "left_out_blob", "created_at"}
        content = self.model_dump(mode="json", exclude_defaults=True, exclude=kept_apart)
        # The database's driver and JSON have other classes for one time zone.
        content["created_at"] = self.created_at.astimezone(UTC).isoformat()
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def sealed(self) -> Self:
        """Return the card with its digest."""
        return self.model_copy(update={"digest": self.content_digest()})

    @property
    def intact(self) -> bool | None:
        """Whether the content is what was sealed; None for a card without a digest."""
        return None if self.digest is None else self.digest == self.content_digest()
