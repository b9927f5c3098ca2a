"""Which commands to the store name the structure: the count that says what a shard key is worth.

Run with ``python benchmarks/sharding.py``. A small campaign is submitted and worked, once as single
jobs and once as packs, and the store is asked what `nearedge query` and its like ask. Of every
command that reaches the store the driver tells what it finds documents by: `structure_key` (or, in
`structures`, `_id`, which is the same) reaches one shard, a range of it those that hold the range;
all else would go to each. Of a bulk of writes the first is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pymongo import monitoring

STORE = "sharding"
RANGE = "structure_key from and to"
_QUIET = {"hello", "ping", "getMore", "endSessions", "listCollections", "listIndexes"}
_QUIET |= {"createIndexes", "dbStats", "collStats"}
_FILTERS = {"find": "filter", "count": "query", "findAndModify": "query", "distinct": "query"}


class Listener(monitoring.CommandListener):
    """Counts commands by phase, collection, kind and what they find documents by."""

    def __init__(self) -> None:
        self.phase = ""
        self.counts: Counter[tuple[str, str, str, str]] = Counter()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command, name = event.command, event.command_name
        if event.database_name != STORE or name in _QUIET:
            return
        collection = str(command.get(name))
        kind = "write" if name in ("insert", "update", "delete", "findAndModify") else "read"
        self.counts[self.phase, collection, kind, found_by(name, collection, command)] += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def found_by(name: str, collection: str, command: Mapping[str, Any]) -> str:
    """Return what a command finds its documents by, from that of its first statement."""
    if name == "insert":
        fields = set(command["documents"][0])
    elif name in ("update", "delete"):
        fields = fields_of(command[f"{name}s"][0]["q"])
        if command[f"{name}s"][0].get("upsert") and "structure_key" not in fields:
            return "_id, with upsert"
    elif name == "aggregate":
        stages = [stage["$match"] for stage in command["pipeline"] if "$match" in stage]
        fields = set().union(*(fields_of(stage) for stage in stages)) if stages else set()
    else:
        fields = fields_of(command.get(_FILTERS.get(name, "filter")) or {})
    if "structure_key" in fields or (collection == "structures" and "_id" in fields):
        return "structure_key"
    if RANGE in fields:
        return "a range of structure_key"
    return "_id" if "_id" in fields else "other fields" if fields else "nothing"


def fields_of(condition: Mapping[str, Any]) -> set[str]:
    """Return the fields that a condition names, also inside `$and` and `$or`."""
    found: set[str] = set()
    for key, value in condition.items():
        ranged = key == "structure_key" and isinstance(value, Mapping) and "$in" not in value
        if not key.startswith("$"):
            found.add(RANGE if ranged else key)
        if key in ("$and", "$or"):
            found |= set().union(*(fields_of(each) for each in value))
    return found


def main() -> None:
    argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0]).parse_args()
    listener = Listener()
    monitoring.register(listener)  # before there is any client
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"NEAREDGE_HOME": home, "NEAREDGE_DATABASE": STORE}
        campaign_and_questions(listener)
    per_phase: dict[str, Counter[str]] = {}
    for (phase, _, kind, by), count in listener.counts.items():
        per_phase.setdefault(f"{phase}, {kind}s", Counter())[by] += count
    for (phase, collection, kind, by), count in sorted(listener.counts.items()):
        line = {"phase": phase, "collection": collection, "kind": kind, "by": by, "commands": count}
        print(json.dumps(line))
    for phase, counts in per_phase.items():
        print(json.dumps({"phase": phase, **counts}))


def campaign_and_questions(listener: Listener) -> None:
    """Submit, work and ask."""
    import store_scale  # noqa: PLC0415
    import synthetic  # noqa: PLC0415

    from nearedge.cli.database_state import make_ready  # noqa: PLC0415
    from nearedge.launch.worker import Worker  # noqa: PLC0415
    from nearedge.settings import get_settings  # noqa: PLC0415
    from nearedge.store.lifecycle import down  # noqa: PLC0415
    from nearedge.store.spectra_store import SpectraStore  # noqa: PLC0415
    from nearedge.workflows.campaign import submit  # noqa: PLC0415

    os.environ["NEAREDGE_TRUSTED_JOBS"] = "synthetic"
    settings = get_settings()
    listener.phase = "up"
    make_ready(settings)
    try:
        for number, pack in ((0, 1), (10, 8)):
            listener.phase = f"submission, {pack} in a job"
            crystals = [synthetic.crystal(number + i, absorber="Ti") for i in range(2)]
            submit(
                crystals,
                absorber="Ti",
                codes=[synthetic.SLEEPING],
                project="study-0",
                pack=pack,
                settings=settings,
            )
            listener.phase = f"work, {pack} in a job"
            Worker(settings).work()
        store = SpectraStore.from_settings(settings)
        for name, ask in store_scale.questions(store, settings, 0).items():
            listener.phase = f"question: {name}"
            ask()
    finally:
        listener.phase = "down"
        down(settings)


if __name__ == "__main__":
    main()
