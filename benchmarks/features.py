"""What features, training and prediction cost, in CPU seconds on one thread.

Run with ``python benchmarks/features.py [MODELS ARCHIVE]``: the folder with M3GNet's weights, and
the archive of published Cu calculations, of which the first structures are taken.
"""

from __future__ import annotations

import json
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
from pymatgen.core.structure import Structure

from nearedge.models.featurizers import load_featurizer
from nearedge.models.heads import KernelHead, TrainingRows

STRUCTURES = 150
SHARED = Path(__file__).resolve().parents[2] / "shared"


def first_structures(archive: Path, count: int) -> list[Structure]:
    structures: list[Structure] = []
    with tarfile.open(archive) as files:
        for member in files:
            if len(structures) == count:
                break
            if member.name.endswith("/POSCAR"):
                file = files.extractfile(member)
                assert file is not None
                structures.append(Structure.from_str(file.read().decode(), fmt="poscar"))
    return structures


def main(models: Path, archive: Path) -> None:
    structures = first_structures(archive, STRUCTURES)
    started = time.process_time()
    featurizer = load_featurizer("m3gnet", model_path=models)
    load = time.process_time() - started
    started = time.process_time()
    features = np.concatenate([featurizer.features(structure) for structure in structures])
    featurizing = time.process_time() - started
    rows = np.random.default_rng(0).permutation(len(features))[:2000]
    train = features[rows]
    targets = np.tanh(train @ np.random.default_rng(1).normal(size=(train.shape[1], 141)) / 8)
    started = time.process_time()
    head = KernelHead.fit(TrainingRows(train, targets, list(range(len(train))))).head
    fitting = time.process_time() - started
    started = time.process_time()
    head.predict(features[:1000])
    predicting = time.process_time() - started
    figures = {
        "load_and_check_cpu_s": round(load, 2),
        "atoms": len(features),
        "atoms_per_cpu_s": round(len(features) / featurizing),
        "structures_per_cpu_s": round(len(structures) / featurizing, 1),
        "fit_rows": len(train),
        "fit_cpu_s": round(fitting, 2),
        "predict_sites_per_cpu_s": round(min(1000, len(features)) / predicting),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    named = [Path(argument) for argument in sys.argv[1:3]]
    main(*(named or (SHARED / "models", SHARED / "data/omnixas/cu_feff_calculations.tar.xz")))
