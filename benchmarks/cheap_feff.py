"""What a cheap FEFF run of each site brings to a kernel that knows the features, and what it costs.

Reads the published calculations and splits of OmniXAS (arXiv:2409.19552)::

    python benchmarks/cheap_feff.py run --archive ARCHIVE --runs RUNS
    python benchmarks/cheap_feff.py judge --runs RUNS --cache FILE

`run` computes sites of the training and the validation rows through NearEdge's own FEFF, and goes
on where it was stopped. ARCHIVE is the folder ``Cu`` of the unpacked calculations. RUNS can be
ingested: each folder in it is a finished run.

`judge` trains the default recipe on all training rows, and learns from those that have a run how
the prediction's error, left out, follows from what the run says otherwise than the prediction: a
linear map, whose options are chosen by leaving materials out. Both are judged on the validation
rows that have a run. FILE is that of ``default_recipe.py``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Self

import numpy as np
from default_recipe import read, rows_of
from numpy.typing import NDArray
from omnixas import MODELS, OMNIXAS, cu_split, materials

from nearedge import __version__
from nearedge.codes import get_code
from nearedge.codes.feff.crystal import read_poscar
from nearedge.codes.feff.parse import parse_xmu
from nearedge.codes.feff.run import RETRY_FOLDER
from nearedge.codes.finished.sidecar import SIDECAR, sidecar_text
from nearedge.compat import lightshow_parameters
from nearedge.errors import CodeError
from nearedge.models.heads import KernelHead
from nearedge.models.heads.alignment import moved
from nearedge.models.heads.kernel_options import KernelOptions
from nearedge.models.metrics import error_scores, paired_bootstrap, squared_errors
from nearedge.schemas.document import content_hash
from nearedge.schemas.model import Metric
from nearedge.spectra.grid import omnixas_grid, to_grid
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray

PROTOCOL = "fast+scf_radius=3.0+l_max=2+k_grid=[-1,0,0.1,0,3.6,0.08]"
KEPT = ("feff.inp", "xmu.dat", "log1.dat")
COST = "cost.json"
TIMEOUT = 3600.0
SHIFTS = np.arange(-12.0, 12.1, 0.5)
"""Steps of the grid by which a run's spectrum is moved at most to lie as the prediction does."""
STRENGTHS = np.geomspace(1e-3, 1e3, 25)
BLENDS = (0.0, 0.15, 0.3, 0.45, 0.6)
"""Shares of a run in the answer that the linear map begins with: few rows suffice to choose one."""


def order(omnixas: Path) -> list[str]:
    """Return the sites in the order in which they are computed: two to judge on, one to learn from.

    Those to learn from are of materials with one or two sites, as those to judge on are, and one of
    each.
    """
    random = np.random.default_rng(0)
    train = cu_split(omnixas, "train")
    sites = Counter(materials(train))
    first = dict(zip(reversed(materials(train)), reversed(train), strict=True))
    learned = [first[material] for material in sorted(sites) if sites[material] <= 2]
    learn = [learned[number] for number in random.permutation(len(learned))]
    val = cu_split(omnixas, "val")
    judged = [val[number] for number in random.permutation(len(val))]
    thirds = [(*judged[2 * n : 2 * n + 2], *learn[n : n + 1]) for n in range(len(learn))]
    return [name for third in thirds for name in third]


def folder_of(name: str, runs: Path) -> Path:
    """Return where the run of a site is kept, named as the published ones are."""
    material, number = name.rsplit("_", 1)
    return runs / material / "FEFF-XANES" / f"{number}_Cu"


def compute(name: str, archive: Path, runs: Path) -> None:
    """Run one site and keep what tells of it; of a failure its name."""
    material, number = name.rsplit("_", 1)
    scratch = runs / "scratch" / name
    shutil.rmtree(scratch, ignore_errors=True)
    structure = read_poscar((archive / material / "POSCAR").read_text())
    folder = folder_of(name, runs)
    folder.mkdir(parents=True, exist_ok=True)
    feff = get_code("feff")
    try:
        inputs = feff.inputs(structure, int(number), "K", PROTOCOL)
        result = feff.run(inputs, scratch, stage_timeout=TIMEOUT)
    except CodeError as error:
        (folder / COST).write_text(json.dumps({"failed": error.name, "why": error.message}))
        return
    retry = scratch / RETRY_FOLDER
    for kept in KEPT:
        shutil.copy((retry if retry.is_dir() else scratch) / kept, folder / kept)
    told = sidecar_text(inputs, structure, int(number), "K", label=material, ran=True)
    (folder / SIDECAR).write_text(told)
    # Last: a run that has it is not done again.
    (folder / COST).write_text(json.dumps({"cpu_seconds": result.cpu_seconds}))
    shutil.rmtree(scratch)


def run(asked: argparse.Namespace) -> None:
    lightshow_parameters("feff")  # threads that import it at once find half of it
    names = order(asked.omnixas)[: asked.sites]
    wanted = [name for name in names if not (folder_of(name, asked.runs) / COST).exists()]
    with ThreadPoolExecutor(asked.processes) as pool:
        started = [pool.submit(compute, name, asked.archive, asked.runs) for name in wanted]
        for done in as_completed(started):
            done.result()


def costs(asked: argparse.Namespace) -> dict[str, float | None]:
    """Return the CPU seconds of the runs that there are, None of those that failed, by site."""
    files = {name: folder_of(name, asked.runs) / COST for name in order(asked.omnixas)}
    return {
        name: json.loads(file.read_text()).get("cpu_seconds")
        for name, file in files.items()
        if file.exists()
    }


def spectrum_of(name: str, runs: Path) -> FloatArray:
    """Return the spectrum of a run on OmniXAS's grid in 1e-3 bohr^2, shape ``(points,)``."""
    xmu = parse_xmu((folder_of(name, runs) / "xmu.dat").read_text())
    return to_grid(xmu.result().spectrum.to_unit(AbsorptionUnit.MILLIBOHR2), omnixas_grid("Cu"))


def recipe_id(data: dict[str, NDArray[np.generic]]) -> str:
    """Return one value for the rows, their features and the recipe that learns from them."""
    arrays = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in data.items()}
    return content_hash([__version__, KernelOptions().model_dump(), arrays])[:12]


def base(asked: argparse.Namespace) -> dict[str, NDArray[np.generic]]:
    """Return what the default recipe says of all rows, of those it learned from as if it had not.

    It is kept beside the runs, under what it was made of.
    """
    data = read(asked.omnixas, asked.models, asked.cache)
    kept = asked.runs / f"base-{recipe_id(data)}.npz"
    if not kept.exists():
        names = {part: cu_split(asked.omnixas, part) for part in ("train", "val")}
        train, val = (rows_of(data, names[part], None) for part in ("train", "val"))
        fitted = KernelHead.fit(train)
        assert fitted.left_out is not None
        np.savez(
            kept,
            ids=np.array([*names["train"], *names["val"]]),
            expected=np.vstack([fitted.left_out.mean, fitted.head.predict(val.features).mean]),
            targets=np.vstack([train.targets, val.targets]),
            mean=fitted.head.mean,
        )
    with np.load(kept) as stored:
        return dict(stored)


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of a part that have a run: published, predicted and computed cheaply.

    The arrays are of shape ``(n, points)``.
    """

    names: list[str]
    targets: FloatArray
    expected: FloatArray
    cheap: FloatArray

    @classmethod
    def of(
        cls, part: str, known: dict[str, NDArray[np.generic]], asked: argparse.Namespace
    ) -> Self:
        wanted = set(cu_split(asked.omnixas, part))
        names = sorted(name for name, cost in costs(asked).items() if name in wanted and cost)
        place = {name: number for number, name in enumerate(known["ids"].tolist())}
        rows = [place[name] for name in names]
        return cls(
            names,
            known["targets"][rows].astype(np.float64),
            known["expected"][rows].astype(np.float64),
            np.stack([spectrum_of(name, asked.runs) for name in names]),
        )

    def said(self, *, placed: bool) -> FloatArray:
        """Return what the runs say otherwise than the predictions, as they lie or moved to them."""
        if not placed:
            return self.cheap - self.expected
        shifts = np.ones((len(SHIFTS), len(self.cheap))) * SHIFTS[:, None]
        tried = np.stack([moved(self.cheap, shift) for shift in shifts])
        best = np.argmin(np.mean((tried - self.expected) ** 2, axis=2), axis=0)
        found: FloatArray = tried[best, np.arange(len(best))] - self.expected
        return found


@dataclass(frozen=True, eq=False)
class Correction:
    """What is added to a prediction: linear in what a run says otherwise than the prediction."""

    blend: float
    known: FloatArray
    solution: FloatArray
    left_out: FloatArray

    @classmethod
    def fit(cls, said: FloatArray, errors: FloatArray, blend: float, strength: float) -> Self:
        """Learn from a row each of some materials; the arrays are of shape ``(n, points)``."""
        # A column of ones instead of taking off means: a mean over all rows knows the one left out.
        known = with_ones(said, float(np.sqrt(np.mean(said**2))))
        gram = known @ known.T
        gram[np.diag_indices(len(gram))] += strength * np.trace(gram) / len(gram)
        inverse = np.linalg.inv(gram)
        solution = inverse @ (errors - blend * said)
        # Each row predicted by the others, in closed form.
        left_out = errors - solution / np.diag(inverse)[:, None]
        return cls(blend, known, solution, left_out)

    def predict(self, said: FloatArray) -> FloatArray:
        learned: FloatArray = with_ones(said, float(self.known[0, -1])) @ self.known.T
        return self.blend * said + learned @ self.solution


def with_ones(said: FloatArray, size: float) -> FloatArray:
    return np.hstack([said, np.full((len(said), 1), size)])


def chosen(train: Part) -> tuple[bool, Correction]:
    """Return the way of placing and the strength that correct rows left out best."""
    errors = train.targets - train.expected
    tried = [
        (placed, Correction.fit(said, errors, blend, strength))
        for placed, said in ((each, train.said(placed=each)) for each in (False, True))
        for blend, strength in product(BLENDS, STRENGTHS)
    ]
    placed, best = min(tried, key=lambda each: float(np.mean((errors - each[1].left_out) ** 2)))
    print(
        f"{len(errors)} training rows left out: mean squared error {np.mean(errors**2):.5f} alone, "
        f"{np.mean((errors - best.left_out) ** 2):.5f} corrected, runs "
        f"{'placed on the prediction' if placed else 'as they lie'}, blend {best.blend:g}"
    )
    return placed, best


def judge(asked: argparse.Namespace) -> None:
    known = base(asked)
    train, val = (Part.of(part, known, asked) for part in ("train", "val"))
    placed, correction = chosen(train)
    factor = np.sum(train.cheap * train.targets) / np.sum(train.cheap**2)
    corrected = val.expected + correction.predict(val.said(placed=placed))
    found = {
        "default recipe": val.expected,
        "default recipe, corrected by the run": np.maximum(corrected, 0.0),
        "the run alone, by a factor": factor * val.cheap,
    }
    groups = materials(val.names)
    alone = squared_errors(val.targets, val.expected)
    mean = np.broadcast_to(known["mean"].astype(np.float64), val.targets.shape)
    print(f"\njudged on {len(groups)} validation rows\n")
    print("| | η | median MSE | mean MSE | η over the recipe | mean MSE less the recipe |")
    print("|---|---|---|---|---|---|")
    for way, spectra in found.items():
        errors = squared_errors(val.targets, spectra)
        scores = error_scores(errors, squared_errors(val.targets, mean), groups)
        row = [shown(scores["eta"], 2), *(shown(scores[k], 5) for k in ("median_mse", "mean_mse"))]
        if way != "default recipe":
            paired = paired_bootstrap(errors, alone, groups)
            row += [shown(paired.eta_ratio, 2), shown(paired.mean_difference, 5)]
        print(f"| {way} | {' | '.join([*row, '', ''][:5])} |")
    all_costs = costs(asked).values()
    spent = np.array([cost for cost in all_costs if cost])
    print(
        f"\nCPU seconds a run: mean {spent.mean():.1f}, median {np.median(spent):.1f}, largest "
        f"{spent.max():.1f}; {len(all_costs) - len(spent)} of {len(all_costs)} failed"
    )


def shown(metric: Metric, digits: int) -> str:
    if metric.low is None or metric.high is None:
        return f"{metric.value:.{digits}f}"
    return f"{metric.value:.{digits}f} ({metric.low:.{digits}f} to {metric.high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=["run", "judge"])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--archive", type=Path, help="the folder Cu of the calculations, unpacked")
    parser.add_argument("--cache", type=Path, help="that of default_recipe.py")
    parser.add_argument("--sites", type=int, default=None, help="at most; default: all")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--omnixas", type=Path, default=OMNIXAS)
    parser.add_argument("--models", type=Path, default=MODELS)
    asked = parser.parse_args()
    {"run": run, "judge": judge}[asked.part](asked)


if __name__ == "__main__":
    main()
