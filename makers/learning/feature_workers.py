"""Features of many structures, computed in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from nearedge.errors import ModelError
from nearedge.models.featurizers import Featurizer, featurizer_of_ref
from nearedge.schemas.model import FeaturizerRef
from nearedge.schemas.structure import StructureDoc
from nearedge.store.features import Features
from nearedge.structures.stored import stored_structure

_AT_A_TIME = 8
"""Structures that a process is given at once."""
WORTH_A_PROCESS = 40
"""Fewer structures than these cost less than the start of a process."""


@dataclass(frozen=True, eq=False)
class Described:
    """What a featurizer says about one structure: its features, or why there are none."""

    document: StructureDoc
    features: Features | None
    refusal: str = ""


@dataclass
class CpuClock:
    """CPU seconds of this process since the start, and of processes that worked for it."""

    def __post_init__(self) -> None:
        self._started = time.process_time()
        self._others: dict[int, float] = {}

    def note(self, process: int, seconds: float) -> None:
        """Take down how much another process has used in all."""
        self._others[process] = max(seconds, self._others.get(process, 0.0))

    @property
    def others(self) -> int:
        """How many other processes have answered."""
        return len(self._others)

    @property
    def seconds(self) -> float:
        """What has been used."""
        return time.process_time() - self._started + sum(self._others.values())


def describe_all(
    featurizer: Featurizer,
    documents: Iterable[StructureDoc],
    clock: CpuClock,
    *,
    workers: int = 1,
    model_path: Path | None = None,
) -> Generator[Described, None, None]:
    """Compute the features of structures; with several workers in the order in which they end.

    At most a few structures for each worker are held at once, however many there are.

    Parameters
    ----------
    featurizer
        Each worker loads the one of the same reference and checks that it is the same.
    documents
        Read as they are needed.
    clock
        Is told what the workers use.
    workers
        Processes, each with one thread. One is this process itself; so it is for few structures.
    model_path
        Where the workers find pretrained weights.

    Raises
    ------
    ModelError
        If a worker is killed.
    """
    _keep_memory()
    documents = iter(documents)
    first = list(islice(documents, WORTH_A_PROCESS)) if workers > 1 else []
    if workers == 1 or len(first) < WORTH_A_PROCESS:
        for document in chain(first, documents):
            yield Described(document, *_describe(featurizer, document.structure))
        return
    yield from _in_processes(
        featurizer.ref, chain(first, documents), clock, workers=workers, model_path=model_path
    )


def _in_processes(
    ref: FeaturizerRef,
    documents: Iterator[StructureDoc],
    clock: CpuClock,
    *,
    workers: int,
    model_path: Path | None,
) -> Generator[Described, None, None]:
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)
    waiting: dict[Future[_Answer], list[StructureDoc]] = {}
    try:
        while True:
            while len(waiting) < 2 * workers and (some := list(islice(documents, _AT_A_TIME))):
                # What a worker has no use for stays here: each copy there and back takes time.
                structures = [document.structure for document in some]
                waiting[pool.submit(_work, ref.model_dump_json(), model_path, structures)] = some
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                answer = future.result()
                clock.note(answer.process, answer.cpu_seconds)
                yield from map(Described, waiting.pop(future), *zip(*answer.found, strict=True))
    except BrokenProcessPool:
        raise ModelError(
            f"A process that computed {ref.name} features was killed, most likely for want of "
            "memory: what was computed is kept; run it again with fewer workers."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, eq=False)
class _Answer:
    found: list[tuple[Features | None, str]]
    process: int
    cpu_seconds: float


def _begin() -> None:
    """Prepare a worker: one thread, and an end when its parent ends in whatever way."""
    threadpool_limits(1)
    _keep_memory()
    # Ctrl-C reaches the whole group; the parent tells the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _keep_memory() -> None:
    """Have glibc keep what is freed for what comes next, up to 64 MiB.

    By its rule the largest array that was ever freed sets how much it keeps (mallopt(3),
    M_MMAP_THRESHOLD). Else memory goes back after one structure and comes anew, a page at a time,
    for the next: up to a tenth of the time, in system calls.
    """
    np.empty(2**25 - 2**16, dtype=np.uint8)


def _work(ref: str, model_path: Path | None, structures: list[dict[str, Any]]) -> _Answer:
    featurizer = _loaded(ref, model_path)
    found = [_describe(featurizer, structure) for structure in structures]
    return _Answer(found, os.getpid(), time.process_time())


@lru_cache(maxsize=4)
def _loaded(ref: str, model_path: Path | None) -> Featurizer:
    return featurizer_of_ref(FeaturizerRef.model_validate_json(ref), model_path=model_path)


def _describe(featurizer: Featurizer, structure: dict[str, Any]) -> tuple[Features | None, str]:
    """Return features, or why there are none."""
    try:
        return _compact(featurizer.features(stored_structure(structure))), ""
    except ModelError as error:
        return None, str(error)


def _compact(features: Features) -> Features:
    """Return features in four bytes each where that loses nothing: networks compute in them."""
    small = features.astype(np.float32)
    return small if np.array_equal(small, features) else features
