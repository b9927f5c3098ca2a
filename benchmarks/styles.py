"""How well styles follow their descriptors, beside what the spectra tell of them at all.

Run with ``python benchmarks/styles.py DATASET [--seeds N] [--set NAME=VALUE]``, where DATASET is a
frozen data set of the store, as for ``nearedge styles train``, which keeps the same styles. They
learn from its part ``train`` and are judged on ``val``; to choose options, freeze one whose ``val``
is of training materials. Beside them stand

- the ceiling: for each descriptor a kernel ridge regression (scikit-learn, Laplacian kernel) of its
  ranks on the whole spectrum, learned from the same rows;
- the ceiling of independent styles: all five regressions, made normally distributed and then as
  independent of each other as the styles are, by the least change;
- ties: what a style would reach that knew the descriptor, since sites with the same descriptor
  have different styles.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import norm, rankdata, spearmanr
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import laplacian_kernel

from nearedge.makers.learning.describe import describe_structures, descriptors_of
from nearedge.makers.learning.rows import part_numbers
from nearedge.makers.learning.styles import style_options, train_dataset
from nearedge.makers.learning.targets import targets_of
from nearedge.models.styles import StyleRows
from nearedge.models.styles.judge import rank_interval
from nearedge.schemas import DatasetDoc
from nearedge.schemas.model import Metric
from nearedge.schemas.styles import StylesDoc
from nearedge.settings import get_settings
from nearedge.spectra.spectrum import FloatArray
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore
from nearedge.store.operations import MongoDatabase
from nearedge.structures.environment import DESCRIPTORS

RIDGE = 0.1
"""Of the regression, with a length of the median distance: chosen on training materials."""
SHARES = np.linspace(0.0, 1.0, 41)
"""Of the regressions' covariance, between none and all, that is taken out of them."""


def read(database: MongoDatabase, frozen: DatasetDoc, part: str) -> tuple[StyleRows, list[str]]:
    """Return the spectra and descriptors of a part of a data set, and the material of each row."""
    numbers = part_numbers(frozen, [part])
    spectra, values = targets_of(database, frozen), descriptors_of(database, frozen)
    rows = StyleRows(spectra[numbers], values[numbers], DESCRIPTORS)
    return rows, [frozen.rows[number].group for number in numbers]


def regressions(learned: StyleRows, judged: StyleRows) -> FloatArray:
    """Return each descriptor's rank among those learned from, as regression has it of `judged`."""
    middle, width = learned.spectra.mean(axis=0), learned.spectra.std(axis=0)
    known, asked = ((each.spectra - middle) / width for each in (learned, judged))
    gamma = 1.0 / float(np.median(pdist(known[:1000], "cityblock")))
    similar, to_asked = (laplacian_kernel(each, known, gamma=gamma) for each in (known, asked))
    found = np.empty((len(asked), len(learned.names)))
    for column, values in enumerate(learned.descriptors.T):
        told = np.flatnonzero(np.isfinite(values))
        ranks = rankdata(values[told]) / len(told)
        model = KernelRidge(kernel="precomputed", alpha=RIDGE)
        model.fit(similar[np.ix_(told, told)], ranks - ranks.mean())
        found[:, column] = model.predict(to_asked[:, told])
    return found


def made_independent(predictions: FloatArray, largest: float) -> FloatArray:
    """Return predictions changed as little as makes no two correlate by more than `largest`."""
    normal = norm.ppf((rankdata(predictions, axis=0) - 0.5) / len(predictions))
    covariance = np.corrcoef(normal.T)
    unity = np.eye(len(covariance))
    for share in SHARES:
        values, vectors = np.linalg.eigh((1.0 - share) * unity + share * covariance)
        changed: FloatArray = normal @ (vectors / np.sqrt(values)) @ vectors.T
        if np.abs(spearmanr(changed).statistic - unity).max() <= largest:
            break
    return changed


def without_ties(values: FloatArray) -> float:
    """Return the rank correlation of a descriptor with numbers in its order that all differ."""
    ranks = rankdata(values[np.isfinite(values)])
    order = np.empty(len(ranks))
    order[np.argsort(ranks, kind="stable")] = np.arange(len(ranks))
    return float(np.corrcoef(ranks, order)[0, 1])


def show(metric: Metric) -> str:
    return f"{metric.value:.3f} ({metric.low:.2f} to {metric.high:.2f})"


def table(
    cards: Sequence[StylesDoc], learned: StyleRows, rows: StyleRows, groups: list[str]
) -> None:
    ceiling = regressions(learned, rows)
    inter = np.array([card.metrics["inter_style"].value for card in cards])
    independent = made_independent(ceiling, float(inter.mean()))
    print(f"{'':6}{'styles':16}{'first seed':24}{'regression':24}{'independent':13}{'ties':7}sites")
    for column, name in enumerate(rows.names):
        values = rows.descriptors[:, column]
        several = [card.metrics[f"spearman_{name}"] for card in cards]
        whole, apart = (
            rank_interval(each[:, column], values, groups, seed=0)
            for each in (ceiling, independent)
        )
        print(
            f"{name:6}{spread([each.value for each in several]):16}{show(several[0]):24}"
            f"{show(whole):24}{apart.value:<13.3f}{without_ties(values):<7.3f}"
            f"{int(np.isfinite(values).sum())}"
        )
    between = np.abs(spearmanr(ceiling).statistic - np.eye(len(rows.names))).max()
    print(f"Largest correlation of two styles {spread(inter)}, of two regressions {between:.3f}.")
    errors = [card.metrics["mae"].value for card in cards]
    print(f"Reconstruction MAE {spread(errors)} edge steps.")


def spread(values: Sequence[float] | FloatArray) -> str:
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.3f} ± {deviation:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    options = style_options(dict(each.split("=", 1) for each in given.set))
    database = connect()
    frozen = DatasetStore(database).get(given.dataset)
    keys = sorted({row.structure_key for row in frozen.rows})
    describe_structures(database, keys, frozen.absorber)
    cards = []
    for seed in range(given.seeds):
        card = train_dataset(
            database,
            frozen,
            name=frozen.name,
            parts=["train"],
            part="val",
            descriptors=DESCRIPTORS,
            options=options,
            seed=seed,
            settings=get_settings(),
        )
        cards.append(card)
        figures = {name: round(metric.value, 4) for name, metric in card.metrics.items()}
        known = {name: round(metric.value, 4) for name, metric in card.training.items()}
        told = {"seed": seed, "held_out": figures, "learned_from": known}
        print(json.dumps({**told, "cpu_seconds": round(card.cpu_seconds, 1)}), flush=True)
    learned, _ = read(database, frozen, "train")
    table(cards, learned, *read(database, frozen, "val"))


if __name__ == "__main__":
    main()
