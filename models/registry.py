"""A model as a folder, for machines without a database.

It holds `card.json` and `weights.safetensors`, and where the model takes spectra that another one
predicts, that one in the folder `input`. Weights of pretrained networks behind the features are not
in it: the card names them by their SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from nearedge.errors import ModelError
from nearedge.models.trained import TrainedModel, check_card
from nearedge.schemas.model import ModelCard

CARD = "card.json"
WEIGHTS = "weights.safetensors"
INPUT = "input"
"""Folder of the model that predicts the spectra which a model takes as an input."""


def is_model_folder(path: Path) -> bool:
    """Tell whether `path` is a folder that holds a model's card or weights."""
    return path.is_dir() and ((path / CARD).exists() or (path / WEIGHTS).exists())


def save_folder(
    path: Path,
    card: ModelCard,
    weights: bytes,
    below: Sequence[tuple[ModelCard, bytes]] = (),
) -> Path:
    """Write a model to the folder `path`, which may hold the same model already.

    Parameters
    ----------
    below
        The model that predicts the spectra it takes as an input, then that one's, and so on.

    Raises
    ------
    ModelError
        If card and weights do not belong together, a model below is lacking, or the folder holds
        something else.
    """
    check_card(card)
    if hashlib.sha256(weights).hexdigest() != card.weights_sha256:
        raise ModelError(
            f"The weights are not those of the model {card.name}: nothing was written."
        )
    if card.input_model != (below[0][0].model_id if below else None):
        raise ModelError(
            f"The model {card.name} needs the model {card.input_model} in its folder: nothing was "
            "written."
        )
    if path.exists() and not path.is_dir():
        raise ModelError(f"{path} is a file: name a folder to export the model to.")
    others = {p.name for p in path.iterdir()} - {CARD, WEIGHTS, INPUT} if path.is_dir() else set()
    if others:
        raise ModelError(f"{path} holds other things, such as {min(others)}: name a new folder.")
    path.mkdir(parents=True, exist_ok=True)
    # The card last: a folder without one is refused, so a half-written model is never read.
    (path / CARD).unlink(missing_ok=True)
    if below:
        save_folder(path / INPUT, *below[0], below[1:])
    (path / WEIGHTS).write_bytes(weights)
    exported = card.model_copy(update={"weights_blob": None, "left_out_blob": None})
    (path / CARD).write_text(exported.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return path


def load_folder(path: Path) -> tuple[ModelCard, bytes]:
    """Read what `save_folder` wrote, without the model below.

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
    check_card(card)
    if hashlib.sha256(weights).hexdigest() != card.weights_sha256:
        raise ModelError(
            f"{path / WEIGHTS} is not what {CARD} describes: it was changed or cut short. Export "
            "the model again."
        )
    return card, weights


def load_model(path: Path) -> TrainedModel:
    """Read an exported model, ready to be applied, with the model below where it has one."""
    card, weights = load_folder(path)
    below = None if card.input_model is None else load_model(path / INPUT)
    return TrainedModel.from_bytes(card, weights, below)


def unchecked(card: ModelCard) -> str | None:
    """Return what a user should know of a card whose content cannot be checked, or None."""
    if card.intact is not None:
        return None
    return (
        f"The card of the model {card.name} is of a release that wrote no digest: its weights were "
        "checked, what the card says was not."
    )
