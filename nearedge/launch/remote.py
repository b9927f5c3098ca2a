"""Collections of NearEdge's database for jobflow-remote, whose project file need name no server.

jobflow-remote makes the stores of a project from what its file says of them. Of these it says the
class and the collection; server and password come from NearEdge's settings when it connects, and
are in no file and in no job.
"""

from __future__ import annotations

from maggma.stores import MongoStore

from nearedge.launch.fireworks import JOB_OUTPUTS, client_options
from nearedge.settings import get_settings
from nearedge.store.connection import mongo_uri


class RemoteStore(MongoStore):
    """A collection beside FireWorks', in ``<database>_launchpad``.

    Parameters
    ----------
    collection_name
        ``jobs`` for jobflow-remote's queue. Default: jobflow's outputs, where those of jobs under
        FireWorks are.
    """

    def __init__(self, collection_name: str = JOB_OUTPUTS) -> None:
        settings = get_settings()
        super().__init__(
            database=settings.launchpad_database,
            collection_name=collection_name,
            mongoclient_kwargs=client_options(settings),
        )

    def connect(self, force_reset: bool = False) -> None:
        """Connect to the server that the settings lead to now.

        Raises
        ------
        DatabaseUnavailable
            If they lead to none.
        """
        self.uri = mongo_uri()
        super().connect(force_reset)
