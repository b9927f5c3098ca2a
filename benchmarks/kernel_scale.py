"""What training the kernel costs with many rows, on synthetic sites: CPU seconds and memory.

Run with ``python benchmarks/kernel_scale.py [ROWS ...]``; each count runs in a process of its own,
with one thread. The features have the blocks of the default recipe without SOAP, and the spectra
follow from them with noise; what is measured is cost, not chemistry.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np

from nearedge.models.heads import KernelHead, TrainingRows

ROWS = (3_340, 10_000, 50_000)
BLOCKS = {**{f"m3gnet:{name}": 64 for name in ("1", "2", "3", "edges", "cell1")}, "radial": 96}
POINTS = 141
SITES_PER_MATERIAL = 3
LATENT = 12
HELD_OUT = 500


def sites(count: int, seed: int) -> TrainingRows:
    """Return sites of materials that share most of what decides their spectra."""
    generator = np.random.default_rng(seed)
    size = sum(BLOCKS.values())
    fixed = np.random.default_rng(0)
    to_features = fixed.normal(size=(LATENT, size))
    to_spectra = fixed.normal(size=(LATENT, 30)) / np.sqrt(LATENT)
    shapes = fixed.normal(size=(30, POINTS)).cumsum(axis=1) / POINTS
    materials = -(-count // SITES_PER_MATERIAL)
    latent = np.repeat(generator.normal(size=(materials, LATENT)), SITES_PER_MATERIAL, axis=0)
    latent = latent[:count] + 0.3 * generator.normal(size=(count, LATENT))
    spectra = 2.0 + np.tanh(latent @ to_spectra) @ shapes
    return TrainingRows(
        features=np.tanh(latent @ to_features / 3),
        targets=spectra + 0.01 * generator.normal(size=spectra.shape),
        groups=[row // SITES_PER_MATERIAL for row in range(count)],
        blocks=BLOCKS,
        edges=latent[:, 0],
    )


def measure(count: int) -> dict[str, float | int]:
    """Train on so many rows and predict others."""
    rows, new = sites(count, 1), sites(HELD_OUT, 2)
    started, begun = time.process_time(), time.monotonic()
    head = KernelHead.fit(rows).head
    trained, elapsed = time.process_time() - started, time.monotonic() - begun
    head.predict(new.features[:2])
    started = time.process_time()
    found = head.predict(new.features)
    rate = HELD_OUT / (time.process_time() - started)
    error = float(np.mean((found.mean - new.targets) ** 2))
    return {
        "rows": count,
        "inducing_rows": int(head.hyperparameters["inducing_rows"]),
        "training_cpu_seconds": round(trained, 1),
        "training_seconds": round(elapsed, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2),
        "sites_predicted_per_cpu_second": round(rate),
        "error_over_variance": round(error / float(np.mean(np.var(new.targets, axis=0))), 5),
    }


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--one"]:
        print(json.dumps(measure(int(arguments[1]))), flush=True)
        return
    for count in [int(argument) for argument in arguments] or ROWS:
        command = [sys.executable, __file__, "--one", str(count)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
