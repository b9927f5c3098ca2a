"""The trial document: one choice of a head's options in a search, and how good it was."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nearedge.schemas.document import Document, content_hash

Scalar = bool | int | float | str


class Dimension(BaseModel):
    """An option that a search varies: between two numbers, or among choices."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = Field(False, description="Factors count alike instead of differences.")
    whole: bool = Field(False, description="Whole numbers only.")
    choices: list[Scalar] = Field(default_factory=list, description="Instead of low and high.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.choices:
            if self.low is not None or self.high is not None:
                raise ValueError("a range and choices exclude each other")
            return self
        if self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("a range goes from a lower to a higher number")
        if self.log and self.low <= 0:
            raise ValueError("a range of factors begins above zero")
        return self


class TrialDoc(Document):
    """One trial of a search. It is written when it is asked for, and again when it has ended."""

    collection: ClassVar[str] = "trials"
    id_field: ClassVar[str] = "trial_id"

    trial_id: str = Field(description="Hash of search and number.")
    search_id: str = Field(description="Hash of data sets, features, head and space.")
    number: int = Field(ge=0)
    dataset_ids: list[str]
    head: str
    featurizer: str
    asked: dict[str, Scalar | None] = Field(description="The options that are varied.")
    state: Literal["asked", "completed", "failed"] = "asked"
    score: float | None = Field(
        None,
        description="Mean squared error of materials left out, each counting the same; lower is "
        "better.",
    )
    cpu_seconds: float = 0.0
    message: str = Field("", description="Why it failed.")

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.state != "asked"


def trial_id(search_id: str, number: int) -> str:
    """Return the id of a trial."""
    return content_hash(["trial", search_id, number])
