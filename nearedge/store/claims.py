"""Who works on which calculation: one owner at a time, and a dead owner's claim is taken over.

A claim saves work; it protects no data, because whoever holds it may be stopped between the look at
it and the write. What protects the data is that the write itself has a condition: see
`SpectraStore.conclude`.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psutil
from pymongo.errors import DuplicateKeyError, PyMongoError

from nearedge.errors import DatabaseError
from nearedge.schemas.document import SCHEMA_VERSION, utc_now
from nearedge.store.batches import batches
from nearedge.store.operations import Document, MongoDatabase, operation
from nearedge.store.processes import OwnerState, named, owner_state
from nearedge.store.writing import insert_missing

CLAIMS = "claims"
_RELEASE_SECONDS = 5.0
_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class ClaimInfo:
    """A claim as `Claims.live` lists it.

    Parameters
    ----------
    owner
        ``alive`` or ``dead`` for a process on this machine, ``unknown`` for another machine's.
    last_beat
        By the owner's clock; for people, not for decisions.
    """

    calculation_id: str
    host: str
    pid: int
    stage: str
    since: datetime
    last_beat: datetime
    owner: OwnerState


class Claim:
    """A claim on calculations that is held; a thread beats for it until it is released.

    Attributes
    ----------
    calculation_ids
        What is claimed and not released; of several, `Claims.hold_free` may have got none.
    lost
        Whether somebody else has taken a part of it over, believing this owner dead.
    owner
        A name that no other claim has.
    """

    def __init__(
        self, database: MongoDatabase, calculation_ids: Sequence[str], owner: str, beat: float
    ) -> None:
        self.calculation_ids = tuple(calculation_ids)
        self.owner = owner
        self.lost = False
        self._claims = database[CLAIMS]
        # Not by the ids of many: the embedded server compares each of them with each claim.
        self._mine: Document = {"owner": owner}
        self._of_one = len(self.calculation_ids) == 1
        if self._of_one:
            self._mine["_id"] = self.calculation_ids[0]
        self._beat_seconds = beat
        self._stage = ""
        self._changing = threading.Lock()
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(
            target=self._beat_until_ended, name=f"claim {owner[:8]}", daemon=True
        )
        self._thread.start()

    def progress(self, stage: str) -> None:
        """Say which stage the work is in; written by the heartbeat, never an error.

        At once for one calculation, with the next beat for many, which all would be written.
        """
        self._stage = stage
        if self._of_one:
            self._wake.set()

    @operation
    def confirmed(self) -> bool:
        """Ask, by a beat that counts only for its owner, whether all of it is still held."""
        self.lost = not self._beats({"$inc": {"beat": 1}})
        return not self.lost

    @operation
    def held(self) -> set[str]:
        """Return the calculations that are still held."""
        if self.confirmed():
            return set(self.calculation_ids)
        return {str(stored["_id"]) for stored in self._claims.find(self._mine, {"_id": 1})}

    def release(self) -> None:
        """Give it up; if the database is away, a thread goes on trying as long as we live."""
        self._ended = True
        self._wake.set()
        self._thread.join(_RELEASE_SECONDS)

    @operation
    def release_some(self, calculation_ids: Sequence[str]) -> None:
        """Give up those of several that are done; until it went well, they are all still held."""
        with self._changing:
            self._claims.delete_many({"_id": {"$in": list(calculation_ids)}, "owner": self.owner})
            self.calculation_ids = tuple(
                each for each in self.calculation_ids if each not in calculation_ids
            )

    def _beat_until_ended(self) -> None:
        # A database that is away is no reason to stop: the work goes on, and so does the beat.
        while not self._ended:
            self._wake.wait(self._beat_seconds)
            if self._ended:
                break
            self._wake.clear()
            change = {
                "$inc": {"beat": 1},
                "$set": {"stage": self._stage, "last_beat": utc_now()},
            }
            try:
                self.lost = not self._beats(change)
            except PyMongoError:
                continue
        # Without this a worker that outlives an outage would for ever hold what it gave up.
        while not self._removed():
            time.sleep(_RETRY_SECONDS)

    def _beats(self, change: Document) -> bool:
        with self._changing:
            matched = self._claims.update_many(self._mine, change).matched_count
            return matched == len(self.calculation_ids)

    def _removed(self) -> bool:
        try:
            self._claims.delete_many(self._mine)
        except PyMongoError:
            return False
        return True


class Claims:
    """Claims on calculations.

    Parameters
    ----------
    database
        The store's database.
    beat_seconds
        Time between two heartbeats.
    patience_seconds
        How long another machine's heartbeat must stand still, while we watch, until its owner
        counts as dead. Clocks are never compared.
    poll_seconds
        Time between two looks at a claim that somebody else holds.
    """

    def __init__(
        self,
        database: MongoDatabase,
        *,
        beat_seconds: float = 10.0,
        patience_seconds: float = 60.0,
        poll_seconds: float = 0.5,
    ) -> None:
        self._database = database
        self._claims = database[CLAIMS]
        self._beat = beat_seconds
        self._patience = patience_seconds
        self._poll = poll_seconds

    @contextmanager
    def hold(
        self,
        calculation_id: str,
        *,
        timeout: float | None = None,
        waiting: Callable[[ClaimInfo], None] | None = None,
    ) -> Iterator[Claim]:
        """Hold the claim on a calculation for the time of a ``with`` block.

        Waits until nobody else holds it or its owner is dead. Look the calculation up afterwards:
        whoever held it may have completed it.

        Parameters
        ----------
        calculation_id
            What is claimed.
        timeout
            Seconds to wait at most; None waits as long as the owner lives.
        waiting
            Called once with the claim that is waited for.

        Raises
        ------
        DatabaseError
            If the timeout passes.
        """
        owner = uuid.uuid4().hex
        self._acquire(calculation_id, owner, timeout, waiting)
        claim = Claim(self._database, [calculation_id], owner, self._beat)
        try:
            yield claim
        finally:
            claim.release()

    @contextmanager
    def hold_free(self, calculation_ids: Sequence[str]) -> Iterator[Claim]:
        """Hold the claims on those of the calculations that nobody else holds; waits for none.

        Look them up afterwards, as with `hold`.
        """
        owner = uuid.uuid4().hex
        claim = Claim(self._database, self._free(calculation_ids, owner), owner, self._beat)
        try:
            yield claim
        finally:
            claim.release()

    @operation
    def live(self) -> list[ClaimInfo]:
        """Return all claims, the oldest first, each with whether its owner lives."""
        return [_info(stored) for stored in self._claims.find({}).sort("since", 1)]

    @operation
    def remove_dead(self) -> int:
        """Remove the claims of this machine's processes that are gone; return how many."""
        dead = [stored for stored in self._claims.find({}) if owner_state(stored) == "dead"]
        return sum(
            self._claims.delete_one({"_id": claim["_id"], "owner": claim["owner"]}).deleted_count
            for claim in dead
        )

    @operation
    def remove_of(self, machine: str, pid: int) -> int:
        """Remove the claims of a process that was given up, wherever it is; return how many."""
        return self._claims.delete_many({"machine": machine, "pid": pid}).deleted_count

    @operation
    def _free(self, calculation_ids: Sequence[str], owner: str) -> list[str]:
        """Claim all that nobody holds, and return those."""
        about = {"owner": owner, **_this_process()}
        wanted = [{"_id": each, **about} for each in calculation_ids]
        taken = [str(each["_id"]) for each in insert_missing(self._claims, wanted)]
        others = set(taken)
        for batch in batches(taken):  # our own, where the answer to a first attempt was lost
            mine = self._claims.find({"_id": {"$in": batch}, "owner": owner}, {"_id": 1})
            others -= {str(each["_id"]) for each in mine}
        return [each for each in calculation_ids if each not in others]

    def _acquire(
        self,
        calculation_id: str,
        owner: str,
        timeout: float | None,
        waiting: Callable[[ClaimInfo], None] | None,
    ) -> None:
        mine = {"_id": calculation_id, "owner": owner, **_this_process()}
        watch = _Watch(self._patience, 5 * self._poll)
        started = time.monotonic()
        told = False
        while True:
            other = self._try(mine)
            if other is None:
                return
            gone = owner_state(other) == "dead" or watch.stands_still(other)
            if gone and self._take(mine, other):
                return
            if waiting is not None and not told:
                waiting(_info(other))
                told = True
            if timeout is not None and time.monotonic() - started > timeout:
                raise DatabaseError(
                    f"Calculation {calculation_id} is still being worked on by process "
                    f"{other['pid']} on {other['host']} after {timeout:.0f} s: wait longer, or end "
                    "that process."
                )
            time.sleep(self._poll)

    @operation
    def _try(self, mine: Document) -> Document | None:
        """Claim it, or return the claim that is in the way."""
        while True:
            try:
                self._claims.insert_one(dict(mine))
                return None
            except DuplicateKeyError:
                other = self._claims.find_one({"_id": mine["_id"]})
            if other is not None:
                # Our own, if the answer to the insertion was lost on the way.
                return None if other["owner"] == mine["owner"] else other

    @operation
    def _take(self, mine: Document, other: Document) -> bool:
        """Take over exactly the claim that was seen: no other owner, no further heartbeat."""
        seen = {"_id": other["_id"], "owner": other["owner"], "beat": other["beat"]}
        content = {key: value for key, value in mine.items() if key != "_id"}
        if self._claims.replace_one(seen, content).matched_count == 1:
            return True
        # If the answer to a first attempt was lost, the claim is ours already.
        return self._claims.find_one({"_id": mine["_id"], "owner": mine["owner"]}) is not None


class _Watch:
    """Adds up how long a heartbeat stood still while we could see it."""

    def __init__(self, patience: float, longest_gap: float) -> None:
        self._patience = patience
        self._longest_gap = longest_gap
        self._seen: tuple[str, int] | None = None
        self._still = 0.0
        self._looked = time.monotonic()

    def stands_still(self, claim: Document) -> bool:
        now = time.monotonic()
        # A longer gap means that the database was away: the owner could not beat either.
        gap = min(now - self._looked, self._longest_gap)
        self._looked = now
        seen = (str(claim["owner"]), int(claim["beat"]))
        self._still = self._still + gap if seen == self._seen else 0.0
        self._seen = seen
        return self._still > self._patience


def _this_process() -> Document:
    return {
        "schema_version": SCHEMA_VERSION,
        "host": socket.gethostname(),
        **named(psutil.Process()),
        "beat": 0,
        "stage": "",
        "since": utc_now(),
        "last_beat": utc_now(),
    }


def _info(stored: Document) -> ClaimInfo:
    return ClaimInfo(
        calculation_id=str(stored["_id"]),
        host=str(stored["host"]),
        pid=int(stored["pid"]),
        stage=str(stored["stage"]),
        since=stored["since"],
        last_beat=stored["last_beat"],
        owner=owner_state(stored),
    )
