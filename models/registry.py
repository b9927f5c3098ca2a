"""A model as a folder: `card.json` and `weights.safetensors`, for machines without a database."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from nearedge.errors import ModelError
from nearedge.models.trained import TrainedModel
from nearedge.schemas.model import ModelCard

CARD = "card.json"
WEIGHTS = "weights.safetensors"


def is_model_folder(path: Path) -> bool:
    """Tell whether `path` is a folder that holds a model's card or weights."""
    return path.is_dir() and ((path / CARD).exists() or (path / WEIGHTS).exists())


def save_folder(path: Path, card: ModelCard, weights: bytes) -> Path:
    """Write a model to the folder `path`, which may hold the same model already.

    Raises
    ------
    ModelError
        If the weights are not the card's, or the folder holds something else.
    """
    if hashlib.sha256(weights).hexdigest() != card.weights_sha256:
        raise ModelError(
            f"The weights are not those of the model {card.name}: nothing was written."
        )
    if path.exists() and not path.is_dir():
        raise ModelError(f"{path} is a file: name a folder to export the model to.")
    others = {p.name for p in path.iterdir()} - {CARD, WEIGHTS} if path.is_dir() else set()
    if others:
        raise ModelError(f"{path} holds other things, such as {min(others)}: name a new folder.")
    path.mkdir(parents=True, exist_ok=True)
    # The card last: a folder without one is refused, so a half-written model is never read.
    (path / CARD).unlink(missing_ok=True)
    (path / WEIGHTS).write_bytes(weights)
    exported = card.model_copy(update={"weights_blob": None})
    (path / CARD).write_text(exported.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return path


def load_folder(path: Path) -> tuple[ModelCard, bytes]:
    """Read what `save_folder` wrote.

    Raises
    ------
    ModelError
        If a file is missing, cut short or was changed.
    """
    try:
        text = (path / CARD).read_text(encoding="utf-8")
        weights = (path / WEIGHTS).read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path} is no exported model ({error}): it must hold {CARD} and {WEIGHTS}."
        ) from None
    try:
        card = ModelCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or CARD
        raise ModelError(
            f"{path / CARD} is no model card ({where}: {first['msg']}): export the model again."
        ) from None
    if hashlib.sha256(weights).hexdigest() != card.weights_sha256:
        raise ModelError(
            f"{path / WEIGHTS} is not what {CARD} describes: it was changed or cut short. Export "
            "the model again."
        )
    return card, weights


def load_model(path: Path) -> TrainedModel:
    """Read an exported model, ready to be applied."""
    return TrainedModel.from_bytes(*load_folder(path))
