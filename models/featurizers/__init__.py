"""Featurizers: numbers for each site of a structure, by a frozen network or a formula.

A *specification* names one: ``m3gnet`` (what OmniXAS takes), ``m3gnet:1,2,3,edges,cell,neighbours``
(any of `BLOCK_NAMES`), ``chgnet``, ``soap:4`` (radius in Å), ``acsf``, ``radial``, and several
joined by ``+``.
"""

from __future__ import annotations

from pathlib import Path

from nearedge.errors import ModelError
from nearedge.models.featurizers.base import Featurizer
from nearedge.models.featurizers.chgnet import load_chgnet
from nearedge.models.featurizers.m3gnet import PUBLISHED, load_m3gnet
from nearedge.models.featurizers.m3gnet_blocks import BLOCK_NAMES
from nearedge.models.featurizers.radial import RadialFeaturizer
from nearedge.models.featurizers.summed import SummedFeaturizer
from nearedge.schemas.model import FeaturizerRef

__all__ = [
    "Featurizer",
    "featurizer_names",
    "featurizer_of_ref",
    "load_featurizer",
    "same_featurizer",
]

RECIPES = {"default": f"m3gnet:{','.join(BLOCK_NAMES)}+soap:4+soap:5+soap:6+radial"}
"""Names for specifications: what the kernel's default recipe wants."""


def featurizer_names() -> list[str]:
    """Return the single featurizers that `load_featurizer` takes."""
    return ["m3gnet", "chgnet", "soap:4", "soap:5", "soap:6", "acsf", "radial"]


def load_featurizer(name: str, *, model_path: Path | None = None) -> Featurizer:
    """Load a featurizer and check that it computes what it should.

    Parameters
    ----------
    name
        A specification, or a key of `RECIPES`.
    model_path
        Folder with pretrained weights (the setting ``model_path``): the model's own folder, or one
        that holds several.

    Raises
    ------
    ModelError
        If there is no such featurizer.
    WeightsError
        If its weights are missing, damaged, or compute wrong numbers.
    """
    parts = [part.strip() for part in RECIPES.get(name, name).split("+")]
    for part in parts:
        _check(part)
    if len(set(parts)) < len(parts):
        raise ModelError(f"The featurizer {name!r} names a part twice: name each once.")
    loaded = [_load(part, model_path) for part in parts]
    return loaded[0] if len(loaded) == 1 else SummedFeaturizer(loaded)


def featurizer_of_ref(ref: FeaturizerRef, *, model_path: Path | None = None) -> Featurizer:
    """Load the featurizer that a model card or stored features name, and check that it is that.

    Raises
    ------
    ModelError
        If there is none of that name, or it has other weights or options here.
    WeightsError
        As `load_featurizer`.
    """
    featurizer = load_featurizer(ref.name, model_path=model_path)
    if not same_featurizer(featurizer.ref, ref):
        raise ModelError(
            f"The featurizer {ref.name} has other weights or options here than those that were "
            f"used (weights {_short(featurizer.ref)} here, {_short(ref)} then): install the "
            "weights and the version of nearedge that made the model."
        )
    return featurizer


def same_featurizer(one: FeaturizerRef, other: FeaturizerRef) -> bool:
    """Tell whether two references name the same numbers: same name, weights, options and size."""
    return one == other


def _check(part: str) -> None:
    """Refuse what is no single featurizer before anything is loaded."""
    if part in featurizer_names():
        return
    family, _, chosen = part.partition(":")
    blocks = _blocks(chosen)
    if family != "m3gnet" or not set(blocks) <= set(BLOCK_NAMES) or len(set(blocks)) < len(blocks):
        raise ModelError(
            f"There is no featurizer {part!r}: choose one of {', '.join(featurizer_names())}, "
            f"blocks of M3GNet as m3gnet:{','.join(BLOCK_NAMES)}, or several joined by +."
        )


def _load(part: str, model_path: Path | None) -> Featurizer:
    family, _, chosen = part.partition(":")
    if family == "m3gnet":
        return load_m3gnet(model_path, _blocks(chosen) if chosen else PUBLISHED)
    if family == "chgnet":
        return load_chgnet(model_path)
    if family == "radial":
        return RadialFeaturizer()
    # dscribe takes more than a second to import, which those who want a network must not pay.
    from nearedge.models.featurizers.acsf import AcsfFeaturizer  # noqa: PLC0415
    from nearedge.models.featurizers.soap import SoapFeaturizer  # noqa: PLC0415

    return SoapFeaturizer(chosen) if family == "soap" else AcsfFeaturizer()


def _blocks(chosen: str) -> list[str]:
    return [name.strip() for name in chosen.split(",")]


def _short(ref: FeaturizerRef) -> str:
    return (ref.weights_sha256 or "none")[:12]
