"""The model card: what a model is, what it was made from, how good it is."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

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


class Metric(BaseModel):
    """A figure with its 95 % interval, where one was computed."""

    model_config = ConfigDict(extra="forbid")

    value: float
    low: float | None = None
    high: float | None = None


class ModelCard(Document):
    """The card of a trained model."""

    collection: ClassVar[str] = "models"
    id_field: ClassVar[str] = "model_id"

    model_id: str = Field(description="SHA-256 of the weights file, first 32 digits.")
    name: str
    head: str = Field(description="`kernel`, and later others.")
    absorber: str
    edge: str
    code: str
    protocol: str
    dataset_id: str
    featurizer: FeaturizerRef
    unit: AbsorptionUnit
    grid: GridDoc
    hyperparameters: dict[str, bool | int | float | str]
    metrics: dict[str, Metric]
    training_rows: int
    cpu_seconds: float
    code_version: str = Field(description="Version of nearedge that trained it.")
    parent: str | None = None
    weights_sha256: str
    weights_blob: str | None = Field(None, description="Blob id in the store; None in a folder.")
