"""What stated uncertainties are worth, on published spectra of every element at hand.

Run with ``python benchmarks/uncertainty.py [--omnixas FOLDER] [--models FOLDER] [--cache FILE]``;
for the default recipe and for structure types, ``structure_types.py``.
OMNIXAS is the folder with ``<El>_<code>_val.npz``, ``splits`` and the archive of Cu calculations;
MODELS holds M3GNet's weights; FILE keeps the Cu features, whose computation takes minutes. The head
is the kernel on the 64 features of M3GNet's third block.

For each element every row is predicted by a model that was trained and calibrated without a tenth
of the materials; Cu is trained on the authors' training rows and judged on their validation rows.

With ``--networks Ti_FEFF Ni_FEFF`` the head is a small residual network trained by folds, judged
without a fifth of the materials: as the folds' networks stated their errors, and as is done.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omnixas import (
    MODELS,
    OMNIXAS,
    CuSite,
    cu_sites,
    cu_split,
    described,
    materials,
    validation_rows,
)
from pymatgen.core.periodic_table import Element
from scipy.stats import spearmanr

from nearedge.models.featurizers import load_featurizer
from nearedge.models.heads import Head, HeadPrediction, KernelHead, TrainingRows
from nearedge.models.heads.kernel_options import KernelOptions
from nearedge.models.heads.residual import ResidualHead, ResidualOptions
from nearedge.models.left_out import material_folds, predict_left_out, state_alike
from nearedge.models.uncertainty.domain import SeenSurroundings
from nearedge.models.uncertainty.reliability import Reliability
from nearedge.models.uncertainty.surroundings import Surroundings, surroundings
from nearedge.spectra.spectrum import FloatArray

FOLDS = 10
NETWORK_FOLDS = 5
NETWORK = ResidualOptions(width=64, max_epochs=60)
"""Smaller than the default, since thirty are trained for each element."""
HELD_OUT = (60, 900)
"""A class is held out if it has this many rows: enough to count, and enough left to learn from."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Rows:
    """Features, spectra and materials of some sites, and what is around them where known."""

    features: FloatArray
    targets: FloatArray
    groups: NDArray[np.str_]
    seen: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.groups)

    def take(self, rows: Mask) -> Rows:
        seen = None if self.seen is None else self.seen[rows]
        return Rows(self.features[rows], self.targets[rows], self.groups[rows], seen)


@dataclass(frozen=True, eq=False)
class Judged:
    """Predictions of rows that were not learned, with what was stated of them."""

    error: FloatArray
    expected: FloatArray
    bound: FloatArray
    inside: FloatArray
    """Share of energies within the 68 and the 95 % interval, shape ``(n, 2)``."""
    outside: Mask
    far: Mask
    unfamiliar: Mask

    def take(self, rows: Mask | NDArray[np.intp]) -> Judged:
        return Judged(*(getattr(self, name)[rows] for name in self.__annotations__))

    @classmethod
    def joined(cls, parts: Sequence[Judged]) -> Judged:
        return cls(
            *(np.concatenate([getattr(p, name) for p in parts]) for name in cls.__annotations__)
        )


def judge(train: Rows, test: Rows, length: float | None = None) -> Judged:
    """Train on `train`, and compare what the model states of `test` with the truth."""
    groups = train.groups.tolist()
    fitted = KernelHead.fit(
        TrainingRows(train.features, train.targets, groups), KernelOptions(length=length)
    )
    seen = None if train.seen is None else train.seen.tolist()
    known = Reliability.fit(train.targets, fitted.left_out, groups, seen)
    sites = [None] * len(test) if test.seen is None else test.seen.tolist()
    return compare(known, fitted.head.predict(test.features), test.targets, sites)


def compare(
    known: Reliability,
    found: HeadPrediction,
    targets: FloatArray,
    sites: Sequence[Surroundings | None],
) -> Judged:
    """Compare predictions, and what is stated of them, with the truth."""
    assert known.intervals is not None
    assert known.bound is not None
    assert known.domain is not None
    missed = np.abs(targets - found.mean)
    inside = [
        (missed <= known.intervals.half_width(found.std, level)).mean(axis=1)
        for level in (0.68, 0.95)
    ]
    verdicts = [known.domain.judge(site, d) for site, d in zip(sites, found.distance, strict=True)]
    return Judged(
        error=np.sqrt((missed**2).mean(axis=1)),
        expected=known.bound.expected(found),
        bound=known.bound.bound(found),
        inside=np.stack(inside, axis=1),
        outside=np.array([bool(verdict.outside) for verdict in verdicts]),
        far=found.distance > known.domain.distance,
        unfamiliar=np.array([bool(verdict.unfamiliar) for verdict in verdicts]),
    )


def cross_validated(rows: Rows, seed: int = 0) -> Judged:
    """Judge every row by a model that has not seen its material."""
    names = np.unique(rows.groups)
    fold_of = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    folds = fold_of[np.searchsorted(names, rows.groups)]
    joined = Judged.joined(
        [judge(rows.take(folds != fold), rows.take(folds == fold)) for fold in range(FOLDS)]
    )
    return joined.take(np.argsort(np.argsort(folds, kind="stable"), kind="stable"))


def networks(rows: Rows) -> Iterator[tuple[str, Judged]]:
    """Judge networks by outer folds, calibrated by inner ones with and without the same bars."""
    learned = TrainingRows(rows.features, rows.targets, rows.groups.tolist())
    parts: dict[str, list[Judged]] = {"each fold's own bars": [], "bars of all left out": []}
    for held in material_folds(learned.groups, NETWORK_FOLDS, 1):
        train = learned.take(np.setdiff1d(np.arange(len(rows)), held))
        test = learned.take(held)
        head: Head = ResidualHead.fit(train, NETWORK).head
        left_out = predict_left_out(ResidualHead, train, NETWORK, NETWORK_FOLDS)
        for name, (one, stated) in zip(
            parts, ((head, left_out), state_alike(head, train, left_out)), strict=True
        ):
            known = Reliability.fit(train.targets, stated, train.groups)
            found = one.predict(test.features)
            parts[name].append(compare(known, found, test.targets, [None] * len(held)))
    for name, judged in parts.items():
        yield name, Judged.joined(judged)


def figures(judged: Judged) -> dict[str, float | int]:
    return {
        "spectra": len(judged.error),
        "coverage_68": round(float(judged.inside[:, 0].mean()), 3),
        "coverage_95": round(float(judged.inside[:, 1].mean()), 3),
        "spearman_error": round(float(spearmanr(judged.expected, judged.error)[0]), 3),
        "within_bound": round(float((judged.error <= judged.bound).mean()), 3),
        "bound_over_error": round(float(np.median(judged.bound / judged.error)), 2),
        "far": round(float(judged.far.mean()), 3),
    }


def cu_rows(folder: Path, models: Path, cache: Path | None) -> tuple[Rows, Rows]:
    """Return the authors' Cu training and validation rows, from the calculations themselves."""
    parts = [cu_split(folder, part) for part in ("train", "val")]
    sites = cu_sites(folder, [*parts[0], *parts[1]])
    ids = np.array([site.label for site in sites])
    seen = np.empty(len(sites), dtype=object)
    for row, site in enumerate(sites):
        (seen[row],) = surroundings(site.structure, [site.number])
    spectra = np.stack([site.spectrum for site in sites])
    groups = np.array(materials(ids.tolist()))
    rows = Rows(_features(sites, ids, models, cache), spectra, groups, seen)
    train, val = (rows.take(np.isin(ids, part)) for part in parts)
    return train, val


def _features(
    sites: Sequence[CuSite], ids: NDArray[np.str_], models: Path, cache: Path | None
) -> FloatArray:
    if cache is not None and cache.exists():
        with np.load(cache) as kept:
            if np.array_equal(kept["ids"], ids):
                known: FloatArray = kept["features"]
                return known
    features = described(sites, load_featurizer("m3gnet", model_path=models))
    if cache is not None:
        np.savez(cache, ids=ids, features=features)
    return features


def detection(train: Rows, usual: Judged) -> Iterator[dict[str, object]]:
    """Hold out every structure of a class in turn, and count which of its sites are flagged.

    Parameters
    ----------
    usual
        The training rows, judged by models that have seen the class in other materials.
    """
    assert train.seen is not None
    length = KernelHead.fit(
        TrainingRows(train.features, train.targets, train.groups.tolist())
    ).head.length
    for what, name, members in _classes(train.seen.tolist()):
        # Whole materials leave the training set, so that nothing of the class stays in it.
        mine = np.isin(train.groups, np.unique(train.groups[members]))
        judged = judge(train.take(~mine), train.take(members), length)
        plain = usual.take(members)
        yield {
            "held_out": f"{what} {name}",
            "rows": int(members.sum()),
            "flagged": round(float(judged.outside.mean()), 3),
            "flagged_or_unfamiliar": round(float((judged.outside | judged.unfamiliar).mean()), 3),
            "far": round(float(judged.far.mean()), 3),
            "error_ratio": round(float(np.median(judged.error / plain.error)), 2),
            "coverage_95": round(float(judged.inside[:, 1].mean()), 3),
            "within_bound": round(float((judged.error <= judged.bound).mean()), 3),
            "within_bound_usual": round(float((plain.error <= plain.bound).mean()), 3),
            "flagged_usual": round(float(plain.outside.mean()), 3),
        }


def _classes(sites: Sequence[Surroundings]) -> list[tuple[str, str, Mask]]:
    """Return the classes to hold out: what, which, and the rows that belong to it."""
    known = SeenSurroundings.of(sites)
    found = [
        (
            "element",
            Element.from_Z(number).symbol,
            np.array([number in site.elements for site in sites]),
        )
        for number in sorted(known.elements)
    ]
    rare = set(range(57, 72))
    found.append(("elements", "La-Lu", np.array([bool(site.elements & rare) for site in sites])))
    found += [
        ("coordination", str(count), np.array([site.coordination == count for site in sites]))
        for count in sorted(known.coordination)
    ]
    types = sorted({site.structure_type.rsplit(" ", 1)[0] for site in sites})
    found += [
        (
            "structure type",
            name,
            np.array([site.structure_type.rsplit(" ", 1)[0] == name for site in sites]),
        )
        for name in types
    ]
    low, high = HELD_OUT
    return [each for each in found if low <= each[2].sum() <= high]


def published(omnixas: Path, name: str) -> Rows:
    """Return the authors' validation rows of an element and code, such as ``Ti_FEFF``."""
    rows = validation_rows(omnixas, *name.split("_"))
    return Rows(rows.features, rows.targets, np.array(rows.groups, dtype=str))


def main(omnixas: Path, models: Path, cache: Path | None) -> None:
    started = time.process_time()
    for path in sorted(omnixas.glob("*_val.npz")):
        name = path.name.removesuffix("_val.npz")
        if name == "Cu_FEFF":
            continue
        judged = cross_validated(published(omnixas, name))
        print(json.dumps({"element": name, **figures(judged)}), flush=True)
    train, val = cu_rows(omnixas, models, cache)
    judged = judge(train, val)
    shares = {
        "outside": round(float(judged.outside.mean()), 3),
        "unfamiliar": round(float(judged.unfamiliar.mean()), 3),
    }
    print(json.dumps({"element": "Cu_FEFF train to val", **figures(judged), **shares}), flush=True)
    usual = cross_validated(train)
    print(json.dumps({"element": "Cu_FEFF train", **figures(usual)}), flush=True)
    for each in detection(train, usual):
        print(json.dumps(each), flush=True)
    print(json.dumps({"cpu_seconds": round(time.process_time() - started)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--omnixas", type=Path, default=OMNIXAS)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--cache", type=Path, help="keeps the Cu features; a file of its own")
    parser.add_argument("--networks", nargs="+", metavar="ELEMENT_CODE")
    asked = parser.parse_args()
    for name in asked.networks or ():
        for bars, judged in networks(published(asked.omnixas, name)):
            told = {"element": name, "bars": bars, **figures(judged)}
            print(json.dumps(told), flush=True)
    if not asked.networks:
        main(asked.omnixas, asked.models, asked.cache)
