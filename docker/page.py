"""The FireWorks page of `lpad webgui -s`, on the launchpad of NearEdge's own settings.

`lpad` would read host, user and password from a launchpad file; here they stay in the settings.
The page has no login that holds: start it where only the login proxy can reach it.
"""

from __future__ import annotations

import sys

from nearedge.launch.fireworks import launchpad  # first: it keeps stray FW_config.yaml files out
from nearedge.settings import get_settings

from fireworks.flask_site.app import app  # isort: skip
from fireworks.flask_site.gunicorn import StandaloneApplication  # isort: skip

ADDRESS = "127.0.0.1:5000"


def _open_launchpad(_server: object, _worker: object) -> None:
    # In each process after the fork: a MongoDB client does not survive one.
    app.lp = launchpad(get_settings())


def main(address: str = ADDRESS) -> None:
    """Serve the page on `address` until told to stop."""
    get_settings()  # a wrong setting is told here, not by every process that would serve
    options = {
        "bind": address,
        "workers": 2,
        "timeout": 60,
        "post_fork": _open_launchpad,
        "control_socket_disable": True,
    }
    StandaloneApplication(app, options).run()


if __name__ == "__main__":
    main(*sys.argv[1:2])
