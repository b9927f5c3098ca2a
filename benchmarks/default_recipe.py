"""What the kernel's default recipe reaches on Cu by FEFF, step by step.

Reads the published calculations and splits of OmniXAS (arXiv:2409.19552)::

    python benchmarks/default_recipe.py cv --cache FILE
    python benchmarks/default_recipe.py val --cache FILE

`cv` leaves materials of the training rows out, five folds; recipes are chosen by it alone. `val`
judges on the validation rows what was trained on the training rows. FILE keeps features and spectra
between runs (about 70 MB; computing them takes three minutes of one core).
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omnixas import MODELS, OMNIXAS, cu_sites, cu_split, described, materials

from nearedge.models.featurizers import load_featurizer
from nearedge.models.heads import KernelHead, TrainingRows
from nearedge.models.heads.kernel_options import KernelOptions
from nearedge.models.metrics import NEAR, evaluate, squared_errors, without_near_duplicates

FOLDS = 5
SEEDS = 5
PUBLISHED = "m3gnet:3"
STEPS = {
    "block 3, Laplacian": ([PUBLISHED], KernelOptions()),
    "all blocks, Matérn 3/2, weights found, not aligned": (
        None,
        KernelOptions(alignments="", feature_steps=0),
    ),
    "+ aligned by 0.65 of the code's zero, predicted": (None, KernelOptions(feature_steps=0)),
    "+ single features weighed (the default)": (None, KernelOptions()),
}


def read(omnixas: Path, models: Path, cache: Path) -> dict[str, NDArray[np.generic]]:
    """Return ids, features, blocks, spectra in 1e-3 bohr^2 and zeros of energy of both splits."""
    if not cache.exists():
        np.savez(cache, **computed(omnixas, models))  # type: ignore[arg-type]
    with np.load(cache) as stored:
        return dict(stored)


def computed(omnixas: Path, models: Path) -> dict[str, NDArray[np.generic]]:
    sites = cu_sites(omnixas, [*cu_split(omnixas, "train"), *cu_split(omnixas, "val")])
    featurizer = load_featurizer("default", model_path=models)
    return {
        "ids": np.array([site.label for site in sites]),
        "features": described(sites, featurizer).astype(np.float32),
        "blocks": np.array(list(featurizer.blocks)),
        "widths": np.array(list(featurizer.blocks.values())),
        "spectra": np.stack([site.spectrum for site in sites]),
        "zeros": np.array([site.zero for site in sites]),
    }


def rows_of(
    data: dict[str, NDArray[np.generic]], ids: list[str], only: list[str] | None
) -> TrainingRows:
    """Return the rows of some ids with some blocks; None takes all."""
    blocks = dict(zip(data["blocks"].tolist(), data["widths"].tolist(), strict=True))
    ends = np.cumsum(list(blocks.values()))
    parts = np.split(np.arange(ends[-1]), ends[:-1])
    chosen = {
        name: part for name, part in zip(blocks, parts, strict=True) if name in (only or blocks)
    }
    place = {name: number for number, name in enumerate(data["ids"].tolist())}
    numbers = np.array([place[name] for name in ids])
    columns = np.concatenate(list(chosen.values()))
    return TrainingRows(
        features=data["features"][numbers][:, columns].astype(np.float64),
        targets=data["spectra"][numbers].astype(np.float64),
        groups=materials(ids),
        blocks={name: len(part) for name, part in chosen.items()},
        edges=data["zeros"][numbers].astype(np.float64),
    )


def cross_validate(name: str, rows: TrainingRows, options: KernelOptions) -> None:
    """Print the error on materials left out, with one or two sites and all."""
    materials = np.array(rows.groups)
    known, codes = np.unique(materials, return_inverse=True)
    fold = np.random.default_rng(0).permutation(np.arange(len(known)) % FOLDS)[codes]
    errors, baseline = np.empty(len(fold)), np.empty(len(fold))
    for number in range(FOLDS):
        head = KernelHead.fit(rows.take(np.flatnonzero(fold != number)), options).head
        out = rows.take(np.flatnonzero(fold == number))
        errors[fold == number] = squared_errors(out.targets, head.predict(out.features).mean)
        mean = np.broadcast_to(head.mean, out.targets.shape)
        baseline[fold == number] = squared_errors(out.targets, mean)
    sites = Counter(materials.tolist())
    few = np.array([sites[material] <= 2 for material in materials.tolist()])
    for what, kept in (("materials of one or two sites", few), ("all", few | True)):
        print(
            f"{name} | {what} | mean {np.mean(errors[kept]):.5f} | median "
            f"{np.median(errors[kept]):.5f} | eta "
            f"{np.median(baseline[kept]) / np.median(errors[kept]):.2f}",
            flush=True,
        )


def judge(name: str, train: TrainingRows, test: TrainingRows, options: KernelOptions) -> None:
    """Print the scores on rows not trained on, with their intervals by material."""
    started = time.process_time()
    head = KernelHead.fit(train, options).head
    seconds = time.process_time() - started
    head.predict(test.features[:2])
    started = time.process_time()
    found = head.predict(test.features)
    rate = len(test.features) / (time.process_time() - started)
    print(f"{name}: fitted in {seconds:.1f} CPU-s, {rate:.0f} sites predicted a CPU-s")
    metrics = evaluate(test.targets, found.mean, found.std, head.mean, test.groups)
    errors = squared_errors(test.targets, found.mean)
    baseline = squared_errors(test.targets, np.broadcast_to(head.mean, test.targets.shape))
    apart = without_near_duplicates(errors, baseline, found.distance, test.groups)
    print(f"  without {np.sum(found.distance < NEAR)} near duplicates: eta {apart['eta']}")
    for key, metric in metrics.items():
        print(f"  {key} {metric}")
    limits = np.quantile(found.distance, [0.25, 0.5, 0.75])
    others = [KernelHead.fit(train, options, seed=seed).head for seed in range(1, SEEDS)]
    means = [other.predict(test.features).mean for other in others]
    etas = [np.median(baseline) / np.median(squared_errors(test.targets, mean)) for mean in means]
    print(f"  eta with other seeds: {', '.join(f'{eta:.2f}' for eta in etas)}")
    for quarter in range(4):
        kept = np.searchsorted(limits, found.distance) == quarter
        eta = np.median(baseline[kept]) / np.median(errors[kept])
        print(f"  distance, quarter {quarter + 1}: eta {eta:.2f}, mean {errors[kept].mean():.5f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["cv", "val"])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--omnixas", type=Path, default=OMNIXAS)
    parser.add_argument("--models", type=Path, default=MODELS)
    asked = parser.parse_args()
    data = read(asked.omnixas, asked.models, asked.cache)
    for name, (only, options) in STEPS.items():
        train = rows_of(data, cu_split(asked.omnixas, "train"), only)
        if asked.part == "cv":
            cross_validate(name, train, options)
        elif options == KernelOptions():
            judge(name, train, rows_of(data, cu_split(asked.omnixas, "val"), only), options)


if __name__ == "__main__":
    main()
