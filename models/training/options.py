"""Options that every network has."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TrainingOptions(BaseModel):
    """How a network is trained; `max_epochs` and the optimiser are those of arXiv:2409.19552."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(default=32, ge=2, description="Rows per step.")
    max_epochs: int = Field(default=1000, ge=1)
    patience: int = Field(
        default=25, ge=1, description="Epochs without a better validation loss that end training."
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="Of Adam; None finds one by a range test."
    )
    fine_tuning_rate: float = Field(
        default=2e-4, gt=0, description="Takes its place where there is a parent."
    )
    fine_tuning_noise: bool = Field(
        default=False,
        description="Dropout and batch statistics go on there; else they stay as the parent's.",
    )
    plateau: int = Field(
        default=0,
        ge=0,
        description="Epochs without a better validation loss that halve the rate; 0 never does.",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="Decoupled (AdamW).")
    validation_share: float = Field(
        default=0.1, gt=0, lt=1, description="Of the materials, kept to stop by and for error bars."
    )
