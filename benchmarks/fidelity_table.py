"""Tables of what `fidelity.py` found: the scores of each way, and its gain over features alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from nearedge.models.metrics import error_scores, paired_bootstrap
from nearedge.spectra.spectrum import FloatArray

WAYS = {
    "features": "features alone",
    "transfer": "trained on FEFF, then on VASP",
    "computed": "computed FEFF spectrum as input",
    "baseline": "difference from the aligned FEFF spectrum, which is input too",
    "predicted": "predicted FEFF spectrum as input",
    "either": "computed FEFF spectrum as input, predicted where none was computed",
}


@dataclass(frozen=True, eq=False)
class Judged:
    """The errors of all folds and seeds of one part of the table."""

    errors: dict[str, FloatArray]
    groups: list[str]
    seeds: NDArray[np.intp]

    @classmethod
    def of(cls, lines: Sequence[dict[str, object]], *, only_paired: bool) -> Judged:
        errors: dict[str, list[float]] = {}
        groups: list[str] = []
        seeds: list[int] = []
        for line in lines:
            paired = cast("list[bool]", line["paired"])
            kept = [n for n, is_paired in enumerate(paired) if is_paired or not only_paired]
            of_line = cast("dict[str, list[float]]", line["errors"])
            for way, values in of_line.items():
                errors.setdefault(way, []).extend(values[n] for n in kept)
            names = cast("list[str]", line["groups"])
            groups += [names[n] for n in kept]
            seeds += [cast("int", line["seed"])] * len(kept)
        arrays = {way: np.array(values) for way, values in errors.items()}
        return cls(arrays, groups, np.array(seeds))

    def rows(self) -> Iterator[str]:
        """Yield a line of the table for each way; intervals draw materials, with all seeds."""
        mean = self.errors["mean"]
        for way in (way for way in WAYS if way in self.errors):
            model = self.errors[way]
            scores = error_scores(model, mean, self.groups)
            etas = [
                float(np.median(mean[self.seeds == seed]) / np.median(model[self.seeds == seed]))
                for seed in np.unique(self.seeds)
            ]
            eta, median, average = (scores[name] for name in ("eta", "median_mse", "mean_mse"))
            gain = "|"
            if way != "features":
                paired = paired_bootstrap(model, self.errors["features"], self.groups)
                ratio, less = paired.eta_ratio, paired.mean_difference
                gain = (
                    f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) | {less.value:+.5f} "
                    f"({less.low:+.5f} to {less.high:+.5f})"
                )
            spread = f", seeds {min(etas):.2f} to {max(etas):.2f}" if len(etas) > 1 else ""
            yield (
                f"| {WAYS[way]} | {eta.value:.2f} ({eta.low:.2f} to {eta.high:.2f}){spread} "
                f"| {median.value:.5f} ({median.low:.5f} to {median.high:.5f}) "
                f"| {average.value:.5f} ({average.low:.5f} to {average.high:.5f}) | {gain} |"
            )


def print_tables(lines: Sequence[dict[str, object]], folds: int) -> None:
    """Print what the runs came to, one table for each element, kind and choice of rows."""
    # A run that was repeated counts once.
    latest = {
        tuple(line[key] for key in ("element", "kind", "rows", "seed", "fold")): line
        for line in lines
    }
    parts: dict[tuple[object, ...], list[dict[str, object]]] = {}
    for (element, kind, which, _, _), line in latest.items():
        parts.setdefault((element, kind, which), []).append(line)
    for (element, kind, which), runs in parts.items():
        for only_paired in (False, True) if which == "all" else (False,):
            judged = Judged.of(runs, only_paired=only_paired)
            seeds = len(np.unique(judged.seeds))
            print(
                f"\n{element}, {kind}, learning from {which} (about {runs[0]['learned']} VASP and "
                f"{runs[0]['feff']} FEFF rows), judged on {len(judged.groups) // seeds} rows"
                f"{' with a computed spectrum' if only_paired else ''}, {len(runs)} runs of "
                f"{folds} folds x {seeds} seeds\n"
            )
            print(
                "| way | η | median MSE | mean MSE | η over features alone "
                "| mean MSE less features alone |"
            )
            print("|---|---|---|---|---|---|")
            for row in judged.rows():
                print(row)
