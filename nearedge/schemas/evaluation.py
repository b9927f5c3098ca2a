"""What is said of models on spectra that they have not learned, beside the figures of each."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from nearedge.schemas.model import Metric


class Comparison(BaseModel):
    """Two models on the same spectra."""

    model_config = ConfigDict(extra="forbid")

    eta_ratio: Metric = Field(description="First over second; above one, the first is better.")
    mean_difference: Metric = Field(
        description="Mean squared error, first minus second; below zero, the first is better."
    )


class DistanceBin(BaseModel):
    """Spectra whose sites are about equally far from the nearest training site."""

    model_config = ConfigDict(extra="forbid")

    low: float
    high: float
    spectra: int
    eta: Metric
    median_mse: Metric
    mean_mse: Metric


class LearningPoint(BaseModel):
    """A model trained on some of the rows, judged like the whole."""

    model_config = ConfigDict(extra="forbid")

    rows: int
    materials: int
    eta: Metric
    mean_mse: Metric
