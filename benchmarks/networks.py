"""What networks reach on published spectra: alone, in ensembles, and after transfer.

Run a part at a time; each run of each part adds a line to RESULTS, and `table` prints them::

    python benchmarks/networks.py cu xasblock --seeds 5
    python benchmarks/networks.py cu residual --seeds 5
    python benchmarks/networks.py cu ensemble --seeds 5
    python benchmarks/networks.py cu end_to_end --seeds 1
    python benchmarks/networks.py cu average --features default --cache FILE
    python benchmarks/networks.py transfer xasblock
    python benchmarks/networks.py table

`cu` trains on the authors' Cu training rows and judges on their validation rows, with M3GNet's
third block or, with ``--features default``, with those of the default recipe (FILE is that of
``default_recipe.py``). `transfer` has
only validation rows of the other elements, so it cross-validates by material: an expert per
element, one model of all elements, and that model fine-tuned per element, each on the same rows.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypedDict

import default_recipe
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
    rows_of,
    validation_rows,
)

from nearedge.models.featurizers import load_featurizer
from nearedge.models.featurizers.m3gnet import load_blocks
from nearedge.models.heads import Fitted, Head, TrainingRows, head_kind
from nearedge.models.heads.average import AverageOptions
from nearedge.models.heads.end_to_end import EndToEndHead, EndToEndOptions
from nearedge.models.heads.end_to_end_training import Sites
from nearedge.models.heads.ensemble import EnsembleOptions
from nearedge.models.heads.xasblock import XASBlockOptions
from nearedge.models.metrics import evaluate, paired_bootstrap, squared_errors
from nearedge.models.training.data import chance_of
from nearedge.models.training.options import TrainingOptions
from nearedge.spectra.spectrum import FloatArray

ELEMENTS = ("Ti", "V", "Cr", "Co", "Ni", "Cu")
FOLDS = 5
PARTS = ("train", "val")


class CuRun(TypedDict):
    """A line of the results: a training on Cu."""

    part: Literal["cu"]
    kind: str
    seed: int
    metrics: dict[str, dict[str, float]]
    cpu_seconds: float
    sites_per_cpu_second: int
    epochs: int


class TransferRun(TypedDict):
    """A line of the results: a fold of all elements; errors by element and way."""

    part: Literal["transfer"]
    kind: str
    fold: int
    errors: dict[str, dict[str, list[float]]]
    groups: dict[str, list[Hashable]]
    cpu_seconds: dict[str, float]


def cu_training_rows(omnixas: Path, models: Path, cache: Path | None) -> TrainingRows:
    """Read, or compute and keep, features and spectra of the authors' Cu training rows."""
    if cache is None or not cache.exists():
        ids = cu_split(omnixas, "train")
        sites = cu_sites(omnixas, ids)
        names = [site.label for site in sites]
        assert set(names) == set(ids)
        features = described(sites, load_featurizer("m3gnet", model_path=models))
        spectra = np.stack([site.spectrum for site in sites])
        if cache is None:
            return TrainingRows(features, spectra, materials(names))
        np.savez(cache, ids=np.array(names), X=features, y=spectra)
    with np.load(cache) as stored:
        return rows_of(dict(stored))


def options_of(
    kind: str, element: str | None
) -> TrainingOptions | EnsembleOptions | AverageOptions:
    """Return the paper's options for an XASBlock, else the kind's defaults."""
    if kind == "xasblock":
        return XASBlockOptions.published(element or "")
    if kind == "average":
        return AverageOptions(settings=json.dumps({"ensemble": {"members": 5}}))
    options = EnsembleOptions(members=5) if kind == "ensemble" else head_kind(kind).options()
    assert isinstance(options, TrainingOptions | EnsembleOptions)
    return options


@dataclass(frozen=True, eq=False)
class Split:
    """The authors' Cu rows to learn from and to judge on, and where they are."""

    train: TrainingRows
    test: TrainingRows
    sites: dict[str, list[CuSite]]

    @classmethod
    def read(cls, asked: argparse.Namespace) -> Self:
        if asked.features == "default":
            data = default_recipe.read(asked.omnixas, asked.models, asked.cache)
            parts = [cu_split(asked.omnixas, part) for part in ("train", "val")]
            train, test = (default_recipe.rows_of(data, ids, None) for ids in parts)
            return cls(train, test, {})
        if asked.kind == EndToEndHead.name:
            sites = {part: cu_sites(asked.omnixas, cu_split(asked.omnixas, part)) for part in PARTS}
            featurizer = load_featurizer("m3gnet", model_path=asked.models)
            rows = [
                TrainingRows(
                    described(part, featurizer),
                    np.stack([site.spectrum for site in part]),
                    [site.material for site in part],
                )
                for part in sites.values()
            ]
            return cls(rows[0], rows[1], sites)
        train = cu_training_rows(asked.omnixas, asked.models, asked.cache)
        return cls(train, validation_rows(asked.omnixas, "Cu"), {})


def places(sites: Sequence[CuSite]) -> Sites:
    """Return where rows are, as end-to-end training takes it."""
    structures = {site.material: site.structure for site in sites}
    numbers = {material: number for number, material in enumerate(structures)}
    return Sites(
        list(structures.values()),
        np.array([numbers[site.material] for site in sites]),
        np.array([site.number for site in sites]),
    )


def fit_cu(kind: str, seed: int, split: Split, models: Path) -> tuple[Fitted[Head], FloatArray]:
    """Return the trained head, and the features of the rows to judge on that it takes."""
    if kind != EndToEndHead.name:
        return head_kind(kind).fit(
            split.train, options_of(kind, "Cu"), seed=seed
        ), split.test.features
    options = EndToEndOptions()
    fitted = EndToEndHead.fit_structures(
        split.train, places(split.sites["train"]), load_blocks(models), options, seed=seed
    )
    return fitted, described(split.sites["val"], fitted.head.featurizer)


def judge_cu(kind: str, seed: int, split: Split, models: Path) -> CuRun:
    started = time.process_time()
    fitted, features = fit_cu(kind, seed, split, models)
    seconds = time.process_time() - started
    started = time.process_time()
    found = fitted.head.predict(features)
    predicting = time.process_time() - started
    test = split.test
    metrics = evaluate(test.targets, found.mean, found.std, fitted.head.mean, test.groups)
    return {
        "part": "cu",
        "kind": kind,
        "seed": seed,
        "metrics": {name: metric.model_dump() for name, metric in metrics.items()},
        "cpu_seconds": round(seconds, 1),
        "sites_per_cpu_second": round(len(features) / predicting),
        "epochs": sum(len(v) for k, v in fitted.history.items() if k.endswith("train_loss")),
    }


def fold_numbers(groups: Sequence[Hashable]) -> NDArray[np.intp]:
    """Return the fold of each row; rows of one material share one, whatever the element."""
    return np.array([int(chance_of(group, -1) * FOLDS) for group in groups], dtype=np.intp)


def transfer_fold(kind: str, fold: int, rows: dict[str, TrainingRows]) -> TransferRun:
    """Return the squared errors of one fold's rows, by element, for the three ways to train."""
    folds = {element: fold_numbers(one.groups) for element, one in rows.items()}
    train = {e: one.take(np.flatnonzero(folds[e] != fold)) for e, one in rows.items()}
    test = {e: one.take(np.flatnonzero(folds[e] == fold)) for e, one in rows.items()}
    together = TrainingRows(
        np.vstack([one.features for one in train.values()]),
        np.vstack([one.targets for one in train.values()]),
        [group for one in train.values() for group in one.groups],
    )
    started = time.process_time()
    universal = head_kind(kind).fit(together, options_of(kind, None), seed=fold).head
    seconds = {"universal": time.process_time() - started, "expert": 0.0, "fine-tuned": 0.0}
    errors: dict[str, dict[str, list[float]]] = {}
    for element in rows:
        heads: dict[str, Head] = {"universal": universal}
        for way, parent in (("expert", None), ("fine-tuned", universal)):
            started = time.process_time()
            options = options_of(kind, element)
            fitted = head_kind(kind).fit(train[element], options, seed=fold, parent=parent)
            heads[way] = fitted.head
            seconds[way] += time.process_time() - started
        spectra = {way: head.predict(test[element].features).mean for way, head in heads.items()}
        mean = train[element].targets.mean(axis=0)
        spectra["mean"] = np.broadcast_to(mean, test[element].targets.shape)
        errors[element] = {
            way: squared_errors(test[element].targets, predicted).tolist()
            for way, predicted in spectra.items()
        }
    return {
        "part": "transfer",
        "kind": kind,
        "fold": fold,
        "errors": errors,
        "groups": {element: list(one.groups) for element, one in test.items()},
        "cpu_seconds": {way: round(value, 1) for way, value in seconds.items()},
    }


def print_cu(lines: Sequence[CuRun]) -> None:
    print(
        "| head | seeds | η: median, range (interval of the median seed) | median MSE "
        "| mean MSE | inside 68 / 95 % | CPU s |"
    )
    print("|---|---|---|---|---|---|---|")
    for kind in dict.fromkeys(line["kind"] for line in lines):
        runs = {line["seed"]: line for line in lines if line["kind"] == kind}.values()
        by_eta = sorted(runs, key=lambda run: run["metrics"]["eta"]["value"])
        middle = by_eta[len(by_eta) // 2]["metrics"]
        etas = [run["metrics"]["eta"]["value"] for run in by_eta]
        typical = {
            name: float(np.median([run["metrics"][name]["value"] for run in runs]))
            for name in ("median_mse", "mean_mse", "coverage_68", "coverage_95")
        }
        print(
            f"| {kind} | {len(etas)} | {np.median(etas):.2f}, {etas[0]:.2f} to {etas[-1]:.2f} "
            f"({middle['eta']['low']:.1f} to {middle['eta']['high']:.1f}) "
            f"| {typical['median_mse']:.5f} | {typical['mean_mse']:.5f} "
            f"| {100 * typical['coverage_68']:.0f} / {100 * typical['coverage_95']:.0f} "
            f"| {np.median([run['cpu_seconds'] for run in runs]):.0f} |"
        )


def print_transfer(lines: Sequence[TransferRun]) -> None:
    for kind in dict.fromkeys(line["kind"] for line in lines):
        runs = list({line["fold"]: line for line in lines if line["kind"] == kind}.values())
        seconds = {
            way: sum(run["cpu_seconds"][way] for run in runs) for way in runs[0]["cpu_seconds"]
        }
        print(f"\n{kind}, {len(runs)} of {FOLDS} folds, CPU seconds {seconds}\n")
        print(
            "| element | rows | η expert | η universal | η fine-tuned "
            "| fine-tuned over expert (95 %) | |"
        )
        print("|---|---|---|---|---|---|---|")
        for element in ELEMENTS:
            groups = [group for run in runs for group in run["groups"][element]]
            errors = {
                way: np.concatenate([run["errors"][element][way] for run in runs])
                for way in ("mean", "expert", "universal", "fine-tuned")
            }
            eta = {way: np.median(errors["mean"]) / np.median(e) for way, e in errors.items()}
            gain = paired_bootstrap(errors["fine-tuned"], errors["expert"], groups).eta_ratio
            low, high = gain.low or 0.0, gain.high or np.inf
            verdict = "gain" if low > 1 else "loss" if high < 1 else "no difference shown"
            print(
                f"| {element} | {len(groups)} | {eta['expert']:.2f} | {eta['universal']:.2f} "
                f"| {eta['fine-tuned']:.2f} | {gain.value:.2f} ({low:.2f} to {high:.2f}) "
                f"| {verdict} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=("cu", "transfer", "table"))
    parser.add_argument("kind", nargs="?", default="xasblock")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--features", choices=("m3gnet", "default"), default="m3gnet")
    parser.add_argument("--omnixas", type=Path, default=OMNIXAS)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--cache", type=Path, help="keeps the Cu features (.npz)")
    parser.add_argument("--results", type=Path, default=Path("networks.jsonl"))
    asked = parser.parse_args()
    if asked.part == "table":
        lines = [json.loads(line) for line in asked.results.read_text().splitlines()]
        print_cu([line for line in lines if line["part"] == "cu"])
        print_transfer([line for line in lines if line["part"] == "transfer"])
        return
    if asked.part == "cu":
        found: Iterable[CuRun | TransferRun]
        split = Split.read(asked)
        label = asked.kind if asked.features == "m3gnet" else f"{asked.kind}, default features"
        found = (
            {**judge_cu(asked.kind, seed, split, asked.models), "kind": label}
            for seed in range(asked.seeds)
        )
    else:
        rows = {element: validation_rows(asked.omnixas, element) for element in ELEMENTS}
        found = (transfer_fold(asked.kind, fold, rows) for fold in range(FOLDS))
    for line in found:
        with asked.results.open("a") as results:
            results.write(json.dumps(line) + "\n")
        shown = {key: value for key, value in line.items() if key not in ("errors", "groups")}
        print(json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()
