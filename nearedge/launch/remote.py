"""Collections of NearEdge's database for jobflow-remote, whose project file need name no server.

jobflow-remote makes the stores of a project from what its file says of them. Of these it says the
class and the collection; server and password come from NearEdge's settings when it connects, and
are in no file and in no job.
"""

from __future__ import annotations

from maggma.stores import MongoStore

from nearedge.launch.fireworks import client_options
from nearedge.settings import get_settings
from nearedge.store.connection import connect, mongo_uri, redacted

REMOTE_OUTPUTS = "remote_outputs"
"""Collection of what jobs return under jobflow-remote, which empties it when it is told to: that of
jobs under FireWorks is another."""


class RemoteStore(MongoStore):
    """A collection beside FireWorks', in ``<database>_launchpad``.

    Parameters
    ----------
    collection_name
        ``jobs`` for jobflow-remote's queue. Default: that of what jobs return.
    """

    def __init__(self, collection_name: str = REMOTE_OUTPUTS) -> None:
        settings = get_settings()
        super().__init__(
            database=settings.launchpad_database,
            collection_name=collection_name,
            mongoclient_kwargs=client_options(settings),
        )

    @property
    def name(self) -> str:
        """What it is called in messages and logs; maggma's is the URI with its password."""
        where = "mongodb://" if self.uri is None else redacted(self.uri)
        return f"{where}/{self.database}/{self.collection_name}"

    def connect(self, force_reset: bool = False) -> None:
        """Connect to the server that the settings lead to now.

        Raises
        ------
        DatabaseUnavailable
            If they lead to none.
        ForeignDatabase
            If what answers is somebody else's: jobflow-remote drops collections when it is reset.
        """
        settings = get_settings()
        connect(settings)
        self.uri = mongo_uri(settings)
        super().connect(force_reset)
