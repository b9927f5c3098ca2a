"""FireWorks' page counts jobs and workflows by state; here without reading what is completed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fireworks.core.launchpad import LaunchPad
from fireworks.flask_site import app as fireworks_page
from pymongo.collection import Collection

from nearedge.launch.queue_state import NOT_COMPLETED

Query = dict[str, Any]


class CountedQueue:
    """A launchpad that answers how many there are of a state by what is not completed."""

    def __init__(self, pad: LaunchPad) -> None:
        self._pad = pad

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pad, name)

    def get_fw_ids(self, query: Query | None = None, **options: Any) -> Any:
        """Return jobs as FireWorks' launchpad does."""
        return self._counted(self._pad.fireworks, self._pad.get_fw_ids, query, options)

    def get_wf_ids(self, query: Query | None = None, **options: Any) -> Any:
        """Return workflows as FireWorks' launchpad does."""
        return self._counted(self._pad.workflows, self._pad.get_wf_ids, query, options)

    def _counted(
        self,
        collection: Collection[dict[str, Any]],
        original: Callable[..., Any],
        query: Query | None,
        options: Mapping[str, Any],
    ) -> Any:
        if options == {"count_only": True} and not query:
            return collection.estimated_document_count()
        if options == {"count_only": True} and query == {"state": "COMPLETED"}:
            others = collection.count_documents({"state": {"$in": list(NOT_COMPLETED)}})
            return max(0, collection.estimated_document_count() - others)
        return original(query, **options)


def without_empty_conditions() -> None:
    """Let FireWorks' page ask without an `$and` of one condition and empty ones.

    The embedded server uses no index for what is in one: each state read every job, ten times for
    one page.
    """
    for name in ("_addq_FW", "_addq_WF"):
        original = getattr(fireworks_page, name)
        setattr(fireworks_page, name, lambda query, original=original: plain(original(query)))


def plain(query: Query) -> Query:
    """Return the only condition of an `$and` that says something, or all where there are more."""
    conditions: list[Query] = [each for each in query["$and"] if each]
    if len(conditions) > 1:
        return {"$and": conditions}
    return conditions[0] if conditions else {}
