"""Training that moves the featurizer too: from stored structures instead of stored features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nearedge.errors import ModelError
from nearedge.makers.learning.plan import END_TO_END, Plan
from nearedge.makers.learning.rows import Rows, training_rows
from nearedge.models.featurizers.m3gnet import M3GNetFeaturizer, load_blocks
from nearedge.models.heads import Fitted, Head
from nearedge.settings import get_settings
from nearedge.store.operations import MongoDatabase
from nearedge.store.spectra_store import SpectraStore


def fit_end_to_end(
    database: MongoDatabase, plan: Plan, parts: Sequence[Rows], checkpoints: Path | None
) -> Fitted[Head]:
    """Train M3GNet and a network on its features together.

    Raises
    ------
    ModelError
        If the features are not M3GNet's alone, or there is a parent or an input beside them.
    """
    # Lightning takes seconds to import, which who trains a kernel must not pay.
    from nearedge.models.heads.end_to_end import EndToEndHead, EndToEndOptions  # noqa: PLC0415
    from nearedge.models.heads.end_to_end_training import Sites  # noqa: PLC0415

    featurizer = plan.recipe.featurizer
    if not isinstance(featurizer, M3GNetFeaturizer) or plan.recipe.inputs or plan.parent:
        raise ModelError(
            "An end-to-end model starts from M3GNet's features of one element by one code: take "
            "the featurizer m3gnet, one data set and no parent."
        )
    rows = [part.dataset.rows[number] for part in parts for number in part.numbers]
    keys = sorted({row.structure_key for row in rows})
    stored = SpectraStore(database).structures(keys)
    place = {key: number for number, key in enumerate(keys)}
    sites = Sites(
        structures=[stored[key].to_structure() for key in keys],
        structure=np.array([place[row.structure_key] for row in rows], dtype=np.intp),
        site=np.array([row.absorbing_index for row in rows], dtype=np.intp),
    )
    options = plan.options
    if not isinstance(options, EndToEndOptions):
        raise ModelError(f"{type(options).__name__} are no options of {END_TO_END}.")
    return EndToEndHead.fit_structures(
        training_rows(parts),
        sites,
        load_blocks(get_settings().model_path, featurizer.model.blocks),
        options,
        seed=plan.seed,
        checkpoints=None if checkpoints is None else checkpoints / "training",
    )
