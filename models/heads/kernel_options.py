"""What a user may choose of the kernel head."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

RIDGE = 4e-3
ALIGNMENTS = "0.5,1"


class KernelOptions(BaseModel):
    """What a user may choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kernel: Literal["auto", "laplacian", "matern32"] = Field(
        default="auto",
        description="The Laplacian for one block of features, as OmniXAS's were best served; the "
        "Matérn kernel of smoothness 3/2 with a length scale per block for several.",
    )
    length: float | None = Field(
        default=None,
        gt=0,
        description="Of the kernel. None finds it by leaving materials out where there are at "
        "least 50; with fewer the Laplacian takes 33/64 of the number of features. The Matérn "
        "kernel's is a factor to all its length scales.",
    )
    ridge: float = Field(
        default=RIDGE,
        gt=0,
        description="Variance of noise, in units of the signal's; between 1e-3 and 2e-2 it hardly "
        "matters. Where block weights are searched for, the search begins with it.",
    )
    search_steps: int = Field(
        default=20,
        ge=0,
        description="Steps of the search for block weights at most; 0 keeps the usual weights.",
    )
    feature_steps: int = Field(
        default=50,
        ge=0,
        description="Steps of the search for how much single features of the blocks count, where "
        "there are at least 1000 rows; 0 lets a block's features count the same.",
    )
    alignments: str | None = Field(
        default=None,
        description="Shares of each spectrum's position by which it is moved before it is learned, "
        "joined by commas; the prediction is the mean over them. None takes 0.5,1 where there "
        "are several blocks; one block is learned as OmniXAS's was, where it lies. Empty moves "
        "nothing.",
    )
    edge_share: float = Field(
        default=0.65,
        ge=-2,
        le=2,
        description="How far spectra follow the code's zero of energy; where not all state one, "
        "none is moved.",
    )
    exact_rows: int = Field(
        default=10_000, ge=2, description="With more training rows they speak through some of them."
    )
    inducing_rows: int = Field(
        default=3000, ge=2, description="How many they then are: cost grows with their square."
    )

    @field_validator("alignments")
    @classmethod
    def _shares(cls, value: str | None) -> str | None:
        try:
            shares = _numbers(value or "")
        except ValueError:
            raise ValueError(f"{value!r} is not numbers joined by commas, such as 0,0.65") from None
        if not all(abs(share) <= 2 for share in shares):
            raise ValueError(f"{value!r} has a share beyond 2")
        return value

    def shares(self, blocks: int) -> list[float]:
        """Return the alignments as numbers, for features of so many blocks."""
        usual = ALIGNMENTS if blocks > 1 else ""
        return _numbers(usual if self.alignments is None else self.alignments)


def _numbers(joined: str) -> list[float]:
    return [float(part) for part in joined.split(",") if part.strip()]
