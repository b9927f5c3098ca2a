"""What may be changed of an autoencoder of styles and of its training."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class StyleOptions(BaseModel):
    """The autoencoder and its training.

    Sizes and noise are those of the authors' published configuration (repository
    AI-multimodal/RankAAE). They step five optimisers in turn; here one optimiser lowers one
    weighted sum, so that the weights are NearEdge's own, chosen on training materials left out of
    copper's K edge, and so are dropout and the strength of the adversary.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    styles: int = Field(6, ge=1, description="Numbers that a spectrum becomes; the last are free.")
    points: int = Field(
        0, ge=0, description="Energies that spectra are resampled to; 0 keeps their own."
    )
    layers: int = Field(5, ge=2, description="Linear layers of encoder and of decoder.")
    width: int = Field(64, ge=1, description="Numbers between two layers.")
    discriminator_layers: int = Field(3, ge=2, description="Linear layers of the adversary.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Share of numbers left out in training.")
    noise: float = Field(
        0.02, ge=0, description="Added to training spectra, in units of the edge step."
    )
    epochs: int = Field(60, ge=1, description="Passes over the training spectra.")
    batch: int = Field(256, ge=4, description="Spectra per step; ranks are compared within it.")
    learning_rate: float = Field(0.01, gt=0, description="At its highest; it falls to zero.")
    weight_decay: float = Field(0.01, ge=0, description="Of AdamW.")
    reconstruction_weight: float = Field(40.0, ge=0, description="Of the squared error.")
    adversary_weight: float = Field(1.0, ge=0, description="Of the discriminator's loss.")
    reversal: float = Field(
        0.3, ge=0, description="What the adversary's gradient is multiplied by in the encoder."
    )
    rank_weight: float = Field(2.0, ge=0, description="Of the rank constraint.")
    round_trip_weight: float = Field(0.1, ge=0, description="Of styles decoded and encoded again.")
    independence_weight: float = Field(
        1.0, ge=0, description="Of squared covariances of two styles, summed over pairs."
    )
    smoothness_weight: float = Field(20.0, ge=0, description="Of decoded spectra against smoothed.")
