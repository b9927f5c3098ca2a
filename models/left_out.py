"""Training rows predicted with their material left out: by the head, or by folds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nearedge.errors import ModelError
from nearedge.models.heads import Head, HeadPrediction, TrainingRows

IntArray = NDArray[np.intp]
_HEAD = "head.safetensors"


def material_folds(groups: Sequence[Hashable], folds: int, seed: int) -> list[IntArray]:
    """Divide rows so that no material is in two folds and the folds are nearly as large.

    Parameters
    ----------
    groups
        The material of each row.
    folds
        How many; fewer where there are fewer materials.
    seed
        Of the order in which materials are dealt out, to the smallest fold each.

    Raises
    ------
    ModelError
        If there are fewer than two materials, or folds.
    """
    rows: dict[Hashable, list[int]] = {}
    for number, group in enumerate(groups):
        rows.setdefault(group, []).append(number)
    if min(len(rows), folds) < 2:
        raise ModelError(
            f"To leave materials out takes at least two of them and two folds, not {len(rows)} and "
            f"{folds}."
        )
    names = sorted(rows, key=str)
    order = np.random.default_rng(seed).permutation(len(names))
    dealt: list[list[int]] = [[] for _ in range(min(folds, len(rows)))]
    for place in sorted(order, key=lambda n: -len(rows[names[n]])):
        min(dealt, key=len).extend(rows[names[place]])
    return [np.array(sorted(numbers), dtype=np.intp) for numbers in dealt]


def predict_left_out(
    kind: type[Head],
    rows: TrainingRows,
    options: BaseModel,
    folds: int,
    *,
    seed: int = 0,
    checkpoints: Path | None = None,
) -> HeadPrediction:
    """Train once for each fold on the others, and predict it.

    Parameters
    ----------
    kind, options, seed
        As `Head.fit` takes them.
    checkpoints
        A folder for what a killed run goes on from; a fold that was trained is not trained again.
    """
    parts = material_folds(rows.groups, folds, seed)
    mean, std = np.zeros_like(rows.targets), np.zeros_like(rows.targets)
    distance = np.zeros(len(rows.targets))
    for number, held in enumerate(parts):
        others = np.setdiff1d(np.arange(len(rows.targets)), held)
        folder = None if checkpoints is None else checkpoints / f"fold-{number}"
        head = _fitted(kind, rows.take(others), options, seed, folder)
        found = head.predict(rows.features[held])
        mean[held], std[held], distance[held] = found.mean, found.std, found.distance
    return HeadPrediction(mean, std, distance)


def state_alike(
    head: Head, rows: TrainingRows, left_out: HeadPrediction
) -> tuple[Head, HeadPrediction]:
    """Fit a network's error bars to all left-out rows, and state these rows' errors by them.

    Each fold's network fits its bars to the tenth of the materials that stopped it, and so does the
    final one: they differ by chance, and what made the folds' bars hold would not make its own.

    Parameters
    ----------
    head
        Trained on all rows; kinds other than networks are returned as they are.
    left_out
        What `predict_left_out` returned.
    """
    # It imports torch and Lightning, which takes seconds that a kernel must not pay.
    from nearedge.models.heads.network import NetworkHead  # noqa: PLC0415

    if not isinstance(head, NetworkHead):
        return head, left_out
    judged = head.with_bars_of(rows.targets, rows.groups, left_out)
    std = judged.bars.std(left_out.distance[:, None])
    return judged, HeadPrediction(left_out.mean, std, left_out.distance)


def _fitted(
    kind: type[Head],
    rows: TrainingRows,
    options: BaseModel,
    seed: int,
    folder: Path | None,
) -> Head:
    if folder is None:
        return kind.fit(rows, options, seed=seed).head
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / _HEAD
    if done.exists():
        return kind.from_bytes(done.read_bytes())
    head = kind.fit(rows, options, seed=seed, checkpoints=folder / "training").head
    # Named when it is whole: a killed run must not leave half a head under that name.
    draft = folder / f"{_HEAD}.part"
    draft.write_bytes(head.to_bytes())
    draft.replace(done)
    return head


def to_bytes(found: HeadPrediction, numbers: Sequence[IntArray]) -> bytes:
    """Return left-out predictions as a safetensors file.

    Parameters
    ----------
    found
        Of the rows of all data sets, one data set after the other.
    numbers
        Row numbers in each data set.
    """
    return bytes(
        save(
            {
                "mean": found.mean.astype(np.float32),
                "std": found.std.astype(np.float32),
                "distance": found.distance.astype(np.float32),
                "dataset": np.repeat(np.arange(len(numbers)), [len(each) for each in numbers]),
                "row": np.concatenate([np.asarray(each, dtype=np.int64) for each in numbers]),
            }
        )
    )


def from_bytes(content: bytes) -> dict[int, tuple[IntArray, HeadPrediction]]:
    """Read what `to_bytes` wrote: row numbers and predictions by number of the data set.

    Raises
    ------
    ModelError
        If it is damaged.
    """
    try:
        arrays = load(content)
        datasets, rows = arrays["dataset"], arrays["row"]
        mean, std, distance = (
            arrays[name].astype(np.float64) for name in ("mean", "std", "distance")
        )
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"Left-out predictions cannot be read ({error}): train again.") from None
    return {
        int(number): (
            rows[datasets == number].astype(np.intp),
            HeadPrediction(
                mean[datasets == number], std[datasets == number], distance[datasets == number]
            ),
        )
        for number in np.unique(datasets)
    }
