"""Featurizers: numbers for each site of a structure, by a frozen pretrained network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nearedge.errors import ModelError
from nearedge.models.featurizers.base import Featurizer
from nearedge.models.featurizers.chgnet import load_chgnet
from nearedge.models.featurizers.m3gnet import load_m3gnet
from nearedge.schemas.model import FeaturizerRef

__all__ = ["Featurizer", "featurizer_names", "load_featurizer", "same_featurizer"]

_LOADERS: dict[str, Callable[[Path | None], Featurizer]] = {
    "m3gnet": load_m3gnet,
    "chgnet": load_chgnet,
}


def featurizer_names() -> list[str]:
    """Return the names that `load_featurizer` takes."""
    return list(_LOADERS)


def load_featurizer(name: str, *, model_path: Path | None = None) -> Featurizer:
    """Load a featurizer and check that it computes what it should.

    Parameters
    ----------
    name
        ``m3gnet`` or ``chgnet``.
    model_path
        Folder with pretrained weights (the setting ``model_path``): the model's own folder, or one
        that holds several.

    Raises
    ------
    ModelError
        If there is no featurizer of that name.
    WeightsError
        If its weights are missing, damaged, or compute wrong numbers.
    """
    try:
        load = _LOADERS[name]
    except KeyError:
        raise ModelError(
            f"There is no featurizer {name!r}: choose one of {', '.join(_LOADERS)}."
        ) from None
    return load(model_path)


def same_featurizer(one: FeaturizerRef, other: FeaturizerRef) -> bool:
    """Tell whether two references name the same numbers: same name, weights, options and size."""
    return one == other
