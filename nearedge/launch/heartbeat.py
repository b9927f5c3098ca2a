"""A worker's sign of life, which outlasts a database that is away.

FireWorks pings once an hour, and its thread ends for good when the database is away at that moment.
Here a thread counts up a number in a document of the worker's own, every `BEAT_SECONDS`, for as
long as the process lives. Who judges watches whether the number stands still, and adds up the time
that it could have seen it move, so neither a clock that is wrong nor an outage makes a worker dead.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, PyMongoError

from nearedge.errors import NearEdgeError
from nearedge.launch.scheduler import own_cluster
from nearedge.settings import Settings
from nearedge.store.connection import client
from nearedge.store.operations import MongoDatabase, server_time

log = logging.getLogger(__name__)

WORKERS = "workers"
"""Collection of the workers' signs of life, in the launchpad's database."""

CLUSTER = "cluster"
"""Field of a worker: the cluster of its batch job, whose number another one may give as well."""

BEAT_SECONDS = 20.0

LONGEST_GAP = timedelta(minutes=2)
"""Time between two looks that counts at most: in a longer one the database may have been away."""

STILL = timedelta(minutes=10)
"""Watched time without a sign of life after which a worker elsewhere is given up."""


class Heartbeat:
    """Beats from `start` to `stop`, in a thread.

    Parameters
    ----------
    settings
        Which launchpad. It is connected to anew after each error, because an embedded server that
        was started again may listen on another port.
    name
        The worker's.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        cluster = own_cluster()
        self._about = {} if cluster is None else {CLUSTER: cluster}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and take the document away if the database is there."""
        self._ended.set()
        self._thread.join(BEAT_SECONDS)

    def _beat(self) -> None:
        while not self._ended.is_set():
            self._try(self._count)
            self._ended.wait(BEAT_SECONDS)
        self._try(lambda workers: workers.delete_one({"_id": self._name}))

    def _try(self, act: Callable[[Collection[dict[str, Any]]], object]) -> None:
        try:
            act(client(self._settings)[self._settings.launchpad_database][WORKERS])
        except (PyMongoError, NearEdgeError) as error:
            log.info("No beat now: %s", error)

    def _count(self, workers: Collection[dict[str, Any]]) -> None:
        beat: dict[str, Any] = {"$inc": {"beat": 1}, "$currentDate": {"at": True}}
        if self._about:
            beat["$set"] = self._about
        if workers.update_one({"_id": self._name}, beat).matched_count == 0:
            _insert(workers, {"_id": self._name, "beat": 1, **self._about})


def stands_still(
    database: MongoDatabase, name: str, signs: str, patience: timedelta = STILL
) -> bool:
    """Look at a worker, and return whether it has given no sign of life for `patience`.

    Times are the database server's own, differences of one clock; gaps between two looks count up
    to `LONGEST_GAP`.

    Parameters
    ----------
    database
        The launchpad's.
    name
        The worker's.
    signs
        More that changes while it lives, such as the beat of its claim.
    patience
        Watched time without a sign of life.
    """
    workers = database[WORKERS]
    stored = workers.find_one({"_id": name})
    if stored is None:
        # Of an older release, or gone: watched from now on.
        _insert(workers, {"_id": name, "beat": 0})
        stored = {"beat": 0}
    now = server_time(database)
    signs = f"{stored['beat']}/{signs}"
    seen = stored.get("seen") or {"signs": None}
    still = 0.0
    if seen["signs"] == signs:
        gap = min(now - _utc(seen["at"], now), LONGEST_GAP)
        still = float(seen["still"]) + max(0.0, gap.total_seconds())
    # Another look at the same time would write the same, give or take its own moment.
    look = {"seen": {"signs": signs, "at": now, "still": still}}
    workers.update_one({"_id": name}, {"$set": look})
    return still >= patience.total_seconds()


def _utc(moment: datetime, like: datetime) -> datetime:
    return moment.replace(tzinfo=like.tzinfo)


def _insert(workers: Collection[dict[str, Any]], document: dict[str, Any]) -> None:
    try:
        workers.insert_one(document)
    except DuplicateKeyError:
        return
