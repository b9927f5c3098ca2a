"""Where jobs put what they return: an old launch never replaces the output of a newer one."""

from __future__ import annotations

from typing import Any

from maggma.stores import GridFSStore, MongoStore
from monty.json import jsanitize
from pymongo.errors import DuplicateKeyError

from nearedge.errors import LaunchGivenUp
from nearedge.launch.token import CurrentLaunch, current_launch, refuse_given_up
from nearedge.store.connection import redacted

LAUNCH = "launch"
"""Field of an output: the number of the launch that wrote it; numbers only grow."""

_TRIES = 3


class LargeOutputs(GridFSStore):
    """The parts of outputs that jobflow keeps as files."""

    @property
    def name(self) -> str:
        """What it is called in messages; maggma's own name is the URI with its password."""
        where = "mongodb://" if self.uri is None else redacted(self.uri)
        return f"{where}/{self.database}/{self.collection_name}"


class FencedOutputs(MongoStore):
    """jobflow's outputs, written under the launch that this process runs."""

    @property
    def name(self) -> str:
        """What it is called in messages; maggma's own name is the URI with its password."""
        where = "mongodb://" if self.uri is None else redacted(self.uri)
        return f"{where}/{self.database}/{self.collection_name}"

    def update(
        self, docs: list[dict[str, Any]] | dict[str, Any], key: list[str] | str | None = None
    ) -> None:
        """Insert or replace outputs.

        Raises
        ------
        LaunchGivenUp
            If the launch was given up, or a later one has written; nothing has changed then.
        """
        launch = current_launch()
        if launch is None:
            super().update(docs, key)
            return
        refuse_given_up(self._collection.database)
        for each in docs if isinstance(docs, list) else [docs]:
            plain: dict[str, Any] = jsanitize(each, allow_bson=True, recursive_msonable=True)
            self._put(plain, launch)

    def _put(self, output: dict[str, Any], launch: CurrentLaunch) -> None:
        named = {"uuid": output["uuid"], "index": output["index"]}
        stored = {**output, LAUNCH: launch.launch_id}
        older = {**named, LAUNCH: {"$not": {"$gt": launch.launch_id}}}
        for _ in range(_TRIES):
            if self._collection.replace_one(older, stored).matched_count:
                return
            if self._collection.find_one(named, {"_id": 1}) is not None:
                break
            try:
                # An id made of the name: of two that insert at once, one fails.
                name = f"{output['uuid']}:{output['index']}"
                self._collection.insert_one({"_id": name, **stored})
                return
            except DuplicateKeyError:
                continue
        raise LaunchGivenUp(
            f"The output of job {launch.fw_id} is a later launch's, so that of launch "
            f"{launch.launch_id} is not kept. Nothing needs to be done."
        )
