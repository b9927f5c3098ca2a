"""What the default recipe states of Cu by FEFF is worth, and what of structure types never seen.

Run with ``python benchmarks/structure_types.py --cache FILE``; FILE keeps features and spectra, as
in ``default_recipe.py``. Intervals and bounds are judged on the validation rows, and on training
rows whose materials were left out, a fifth at a time, before anything was learned.

Then each structure type (stoichiometry and space group) that several materials have is left out as
a whole, and so is each crystal system and each kind of compound: in closed form, by the metric that
was found with all training rows. A site counts as flagged where `Domain` calls it outside for its
type: not learned, and farther from the training set than a share of sites of known types.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
from default_recipe import read, rows_of
from numpy.typing import NDArray
from omnixas import MODELS, OMNIXAS, CuSite, cu_sites, cu_split
from uncertainty import Judged, compare, figures

from nearedge.models.heads import KernelHead, TrainingRows
from nearedge.models.heads.alignment import moved
from nearedge.models.heads.kernel_options import KernelOptions
from nearedge.models.heads.kernel_training import put_back
from nearedge.models.heads.posterior import Exact
from nearedge.models.heads.process import Process
from nearedge.models.left_out import material_folds
from nearedge.models.uncertainty.conformal import row_weights, rows_of_groups
from nearedge.models.uncertainty.domain import OF_KNOWN_TYPE, Domain
from nearedge.models.uncertainty.reliability import Reliability
from nearedge.models.uncertainty.surroundings import Surroundings, surroundings
from nearedge.spectra.spectrum import FloatArray

FOLDS = 5
SHARES = (0.5, OF_KNOWN_TYPE, 0.9, 0.95)
SYSTEMS = {"triclinic": (1, 2), "tetragonal": (75, 142), "trigonal, hexagonal": (143, 194)}
SYSTEMS["cubic"] = (195, 230)
KINDS = {"fluorides": {9}, "chlorides": {17}, "halides": {9, 17, 35, 53}, "sulfides": {16}}

Mask = NDArray[np.bool_]


def tell(what: str, judged: Judged) -> None:
    shares = {name: float(getattr(judged, name).mean()) for name in ("outside", "unfamiliar")}
    rounded = {name: round(share, 3) for name, share in shares.items()}
    print(json.dumps({"rows": what, **figures(judged), **rounded}), flush=True)


def cross_validated(rows: TrainingRows, seen: Sequence[Surroundings]) -> Judged:
    parts = []
    for held in material_folds(rows.groups, FOLDS, 0):
        others = np.setdiff1d(np.arange(len(rows.targets)), held)
        train, test = rows.take(others), rows.take(held)
        fitted = KernelHead.fit(train)
        known = [seen[number] for number in others]
        reliability = Reliability.fit(train.targets, fitted.left_out, train.groups, known)
        found = fitted.head.predict(test.features)
        parts.append(compare(reliability, found, test.targets, [seen[n] for n in held]))
    return Judged.joined(parts)


class LeftOut:
    """Predictions of training rows with groups of them left out, all by one metric."""

    def __init__(self, head: KernelHead, rows: TrainingRows) -> None:
        assert head.edge is not None
        assert rows.edges is not None
        self._head, self._rows = head, rows
        points = (rows.features - head.center) / head.scale
        self._distance = head.process.distances(points)
        self._spectra = _inverse(head.process, self._distance)
        self._edges = _inverse(head.edge, head.edge.distances(points))
        self._place = KernelOptions().edge_share * (rows.edges - rows.edges.mean())

    def by(self, labels: Sequence[Hashable]) -> tuple[FloatArray, FloatArray]:
        """Return errors and distances of rows with all rows of their label left out, ``(n,)``."""
        groups = rows_of_groups(labels)
        place = self._place[:, None]
        predicted = place - Exact(self._edges, groups).left_out(place).errors
        moves = [share * self._place / self._rows.step for share in self._head.shares]
        aligned = np.concatenate([moved(self._rows.targets, move) for move in moves], axis=1)
        spectra = aligned - Exact(self._spectra, groups).left_out(aligned).errors
        found = put_back(spectra, predicted[:, 0], self._head.shares, self._rows.step)
        missed = np.maximum(found, 0.0) - self._rows.targets
        codes = np.unique(np.array([str(label) for label in labels]), return_inverse=True)[1]
        others = np.where(codes[:, None] == codes, np.inf, self._distance)
        return np.sqrt((missed**2).mean(axis=1)), self._head.process.nearest(others)


def _inverse(process: Process, distance: FloatArray) -> FloatArray:
    return Exact.of(process.covariance(distance), process.ridge, []).inverse


def shared(labels: Sequence[str], materials: Sequence[Hashable]) -> Mask:
    """Return which rows have a label that rows of another material have, too."""
    having: dict[str, set[Hashable]] = defaultdict(set)
    for label, material in zip(labels, materials, strict=True):
        having[label].add(material)
    return np.array([len(having[label]) > 1 for label in labels])


def of_types(left_out: LeftOut, rows: TrainingRows, types: Sequence[str]) -> None:
    """Print what becomes of sites whose structure type is left out with all its materials."""
    usual, near = left_out.by(rows.groups)
    error, distance = left_out.by(types)
    known = shared(types, rows.groups)
    weight = row_weights(rows_of_groups(rows.groups))
    print(json.dumps({"types": len(set(np.array(types)[known])), "rows": int(known.sum())}))
    for share in SHARES:
        order = np.argsort(near[known])
        cumulative = np.cumsum(weight[known][order]) / weight[known].sum()
        limit = near[known][order][np.searchsorted(cumulative, share)]
        flagged = known & (distance > limit)
        missed = known & ~flagged
        alone = ~known & (near > limit)
        told = {
            "share_of_known": share,
            "limit": limit,
            "flagged": weight[flagged].sum() / weight[known].sum(),
            "flagged_of_all_left_out": weight[alone].sum(),
            "error_flagged": np.median(error[flagged]) / np.median(usual[known]),
            "error_not_flagged": np.median(error[missed]) / np.median(usual[known]),
            "error_ratio_flagged": np.median(error[flagged] / usual[flagged]),
        }
        print(json.dumps({name: round(float(value), 3) for name, value in told.items()}))


def of_classes(
    left_out: LeftOut, rows: TrainingRows, seen: Sequence[Surroundings], domain: Domain
) -> None:
    """Print what becomes of sites whose crystal system or kind of compound is left out."""
    types = np.array([site.structure_type for site in seen])
    groups = [int(site.structure_type.split(" ")[1]) for site in seen]
    classes = {
        name: np.array([low <= group <= high for group in groups])
        for name, (low, high) in SYSTEMS.items()
    }
    classes |= {
        name: np.array([bool(site.elements & numbers) for site in seen])
        for name, numbers in KINDS.items()
    }
    usual, _ = left_out.by(rows.groups)
    for name, members in classes.items():
        # Rows of a material share its elements and space group, so that none is left behind.
        labels = [
            name if member else material
            for member, material in zip(members, rows.groups, strict=True)
        ]
        error, distance = left_out.by(labels)
        new = members & ~np.isin(types, types[~members])
        flagged = new & (distance > domain.type_distance)
        told = {
            "new_types": new[members].mean(),
            "flagged_for_type": flagged[members].mean(),
            "by_distance_alone": (distance > domain.distance)[members].mean(),
            "error_ratio": np.median(error[members] / usual[members]),
            "error_flagged": np.median(error[flagged]) / np.median(usual),
            "error_not_flagged": np.median(error[members & ~flagged]) / np.median(usual),
        }
        rounded = {what: round(float(value), 3) for what, value in told.items()}
        print(json.dumps({"held_out": name, "rows": int(members.sum()), **rounded}), flush=True)


def around(omnixas: Path, labels: Sequence[str]) -> dict[str, Surroundings]:
    """Return the surroundings of sites, the symmetry of each structure found once."""
    sites: dict[str, list[CuSite]] = defaultdict(list)
    for site in cu_sites(omnixas, labels):
        sites[site.material].append(site)
    return {
        site.label: found
        for same in sites.values()
        for site, found in zip(
            same, surroundings(same[0].structure, [site.number for site in same]), strict=True
        )
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--omnixas", type=Path, default=OMNIXAS)
    parser.add_argument("--models", type=Path, default=MODELS)
    asked = parser.parse_args()
    started = time.process_time()
    data = read(asked.omnixas, asked.models, asked.cache)
    labels = {part: cu_split(asked.omnixas, part) for part in ("train", "val")}
    rows = {part: rows_of(data, names, None) for part, names in labels.items()}
    known = around(asked.omnixas, [*labels["train"], *labels["val"]])
    seen = {part: [known[name] for name in names] for part, names in labels.items()}
    train, val = rows["train"], rows["val"]
    fitted = KernelHead.fit(train)
    reliability = Reliability.fit(train.targets, fitted.left_out, train.groups, seen["train"])
    judged = compare(reliability, fitted.head.predict(val.features), val.targets, seen["val"])
    tell("train to val", judged)
    tell("train, by folds", cross_validated(train, seen["train"]))
    domain = reliability.domain
    assert domain is not None
    left_out = LeftOut(fitted.head, train)
    types = [site.structure_type.rsplit(" ", 1)[0] for site in seen["train"]]
    of_types(left_out, train, types)
    of_classes(left_out, train, seen["train"], domain)
    print(json.dumps({"cpu_seconds": round(time.process_time() - started)}))


if __name__ == "__main__":
    main()
