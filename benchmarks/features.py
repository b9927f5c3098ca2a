"""What features cost: our M3GNet beside the library's, two processes beside one, and memory.

Run with ``python benchmarks/features.py [MODELS ARCHIVE]``: the folder with M3GNet's weights, and
the archive of published Cu calculations, of which structures are taken. CPU seconds are the figures
to trust; those by the clock mean something on a machine that does nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tarfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import psutil
import torch
from pymatgen.core.structure import Structure

from nearedge.compat import sum_messages_at_destination
from nearedge.makers.learning.feature_workers import CpuClock, describe_all
from nearedge.models.featurizers import load_featurizer
from nearedge.models.featurizers.m3gnet import NAME
from nearedge.models.featurizers.weights import read_weights
from nearedge.schemas.structure import StructureDoc
from nearedge.spectra.spectrum import FloatArray
from nearedge.structures.source import SourceRef

STRUCTURES = 150
IN_PROCESSES = 1500
SHARED = Path(__file__).resolve().parents[2] / "shared"
WHOLE = "m3gnet:1,2,3,edges,cell,neighbours"
"""Of these blocks, in the comparison of processes."""

Seconds = tuple[float, float]
"""By the clock, and of CPU."""


class Library:
    """matgl's M3GNet with the message sums that the weights were made with."""

    def __init__(self, models: Path) -> None:
        # Here, because the processes measured below import this file and need no matgl.
        from matgl.ext.pymatgen import Structure2Graph  # noqa: PLC0415
        from matgl.models import M3GNet  # noqa: PLC0415

        weights = read_weights(models / NAME)
        self._network = M3GNet(**weights.arguments["model"]["init_args"])
        state = {key.removeprefix("model."): value for key, value in weights.state.items()}
        self._network.load_state_dict(state, strict=False)
        sum_messages_at_destination(self._network.graph_layers)
        self._network.eval().requires_grad_(False)
        self._converter = Structure2Graph(self._network.element_types, self._network.cutoff)

    def features(self, structure: Structure) -> FloatArray:
        inside = Structure(structure.lattice, structure.species, structure.frac_coords % 1.0)
        graph, lattice, state = self._converter.get_graph(inside)
        graph.pbc_offshift = graph.pbc_offset @ lattice[0]
        graph.pos = graph.frac_coords @ lattice[0]
        self._network(graph, state_attr=torch.as_tensor(state))
        features: FloatArray = self._network.feature_dict["gc_3"]["node_feat"].double().numpy()
        return features


class Peak:
    """The most memory that this process and its children held together."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Peak:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        me = psutil.Process()
        while not self._over.wait(0.5):
            held = me.memory_info().rss
            for child in me.children(recursive=True):
                with suppress(psutil.Error):
                    held += child.memory_info().rss
            self.bytes = max(self.bytes, held)


def structures_of(archive: Path, count: int) -> list[Structure]:
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


def against_the_library(models: Path, structures: Sequence[Structure]) -> None:
    """Both do each structure in turn, so that both meet the same load."""
    own, library = load_featurizer("m3gnet", model_path=models), Library(models)
    seconds = {"own": 0.0, "library": 0.0}
    worst = 0.0
    for structure in structures[:3]:
        own.features(structure), library.features(structure)
    for structure in structures:
        started = time.process_time()
        found = own.features(structure)
        between = time.process_time()
        expected = library.features(structure)
        ended = time.process_time()
        seconds["own"] += between - started
        seconds["library"] += ended - between
        relative = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        worst = max(worst, float(relative))
    atoms = sum(map(len, structures))
    print(f"\nM3GNet, one thread, {len(structures)} structures of Cu, {atoms} atoms")
    for name, spent in seconds.items():
        print(f"  {name:8}{spent:8.2f} CPU-s {atoms / spent:8.0f} atoms a CPU-second")
    print(f"  {seconds['library'] / seconds['own']:.2f} times as fast as the library")
    print(f"  largest relative difference of a structure {worst:.1e}")


def of_each_kind(models: Path, structures: Sequence[Structure]) -> None:
    print("\nFeaturizers, one thread")
    atoms = sum(map(len, structures))
    for spec in ("m3gnet", WHOLE, "chgnet", "soap:4", "soap:5", "soap:6", "acsf", "radial"):
        featurizer = load_featurizer(spec, model_path=models)
        featurizer.features(structures[0])
        started = time.process_time()
        for structure in structures:
            featurizer.features(structure)
        spent = time.process_time() - started
        print(f"  {spec:36}{featurizer.ref.size:6} numbers {atoms / spent:8.0f} atoms a CPU-second")


def with_processes(models: Path, structures: Sequence[Structure]) -> None:
    """Measure after the first fifth, when all processes work, and until the last answer.

    What two processes can do on free cores is twice what each does in a CPU second; by the clock it
    is less when something else runs. Two cores seldom do twice the work of one, since they share
    memory and caches: what two processes reach that exchange nothing is the most that can be had.
    """
    documents = [
        StructureDoc.from_structure(structure, SourceRef(kind="object", label=str(number)))
        for number, structure in enumerate(structures)
    ]
    featurizer = load_featurizer(WHOLE, model_path=models)
    print(f"\nProcesses, {len(documents)} structures, {os.cpu_count()} cores")
    by_clock, by_cpu = [], []
    for workers in (1, 2):
        clock = CpuClock()
        with Peak() as peak:
            described = describe_all(
                featurizer, documents, clock, workers=workers, model_path=models
            )
            skipped = 0
            while skipped < len(documents) // 5 or clock.others < (workers if workers > 1 else 0):
                next(described)
                skipped += 1
            started, cpu, first = time.perf_counter(), clock.seconds, peak.bytes
            ended = started
            for _ in described:
                ended = time.perf_counter()
            rest, elapsed, cpu = len(documents) - skipped, ended - started, clock.seconds - cpu
        by_clock.append(rest / elapsed)
        by_cpu.append(workers * rest / cpu)
        print(
            f"  {workers} at work {by_clock[-1]:7.1f} structures/s by the clock,"
            f" {by_cpu[-1]:7.1f} on free cores, {clock.seconds:6.1f} CPU-s with start,"
            f" peak {peak.bytes / 2**20:.0f} MiB ({first / 2**20:.0f} after the first fifth)"
        )
    apart_by_clock, apart_by_cpu = apart(models, documents)
    print(
        f"  2 apart   {apart_by_clock:7.1f} structures/s by the clock, {apart_by_cpu:7.1f} on free"
        " cores: two processes that exchange nothing"
    )
    print(
        f"  two do {by_clock[1] / by_clock[0]:.2f} times as much by the clock, at a load of"
        f" {os.getloadavg()[0]:.1f}; {by_cpu[1] / by_cpu[0]:.2f} times on free cores; of what two"
        f" apart do {by_clock[1] / apart_by_clock:.0%} and {by_cpu[1] / apart_by_cpu:.0%}"
    )


def apart(models: Path, documents: Sequence[StructureDoc]) -> tuple[float, float]:
    """Return the structures a second that two processes do, each on its own, and on free cores."""
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(2), context.SimpleQueue()
    halves = [documents[half::2] for half in range(2)]
    processes = [context.Process(target=_alone, args=(models, h, ready, answers)) for h in halves]
    for process in processes:
        process.start()
    seconds = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    elapsed = np.mean([by_clock for by_clock, _ in seconds])
    cpu = np.mean([by_cpu for _, by_cpu in seconds])
    return len(documents) / elapsed, len(documents) / cpu


def _alone(
    models: Path, documents: Sequence[StructureDoc], ready: Barrier, answers: SimpleQueue[Seconds]
) -> None:
    featurizer = load_featurizer(WHOLE, model_path=models)
    for _ in describe_all(featurizer, documents[:20], CpuClock()):
        pass
    ready.wait()
    started, cpu = time.perf_counter(), time.process_time()
    for _ in describe_all(featurizer, documents, CpuClock()):
        pass
    answers.put((time.perf_counter() - started, time.process_time() - cpu))


def main(models: Path, archive: Path) -> None:
    torch.set_num_threads(1)
    structures = structures_of(archive, IN_PROCESSES)
    few = structures[:: len(structures) // STRUCTURES][:STRUCTURES]
    with_processes(models, structures)
    against_the_library(models, few)
    of_each_kind(models, few)


if __name__ == "__main__":
    named = [Path(argument) for argument in sys.argv[1:3]]
    main(*(named or (SHARED / "models", SHARED / "data/omnixas/cu_feff_calculations.tar.xz")))
