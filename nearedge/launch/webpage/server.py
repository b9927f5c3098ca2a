"""The process of the web page: ``python -m nearedge.launch.webpage.server``."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence

from fireworks.flask_site.gunicorn import StandaloneApplication

from nearedge.errors import NearEdgeError
from nearedge.launch.webpage.site import create_app
from nearedge.settings import get_settings
from nearedge.store.server_process import LOOPBACK

WORKERS = 2
"""Processes that answer: a slow page does not hold up the others."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page on loopback until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m nearedge.launch.webpage.server")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--token", help="stands in the command line, to know the process by")
    parser.add_argument(
        "--behind-proxy", action="store_true", help="ask for no password: a proxy does"
    )
    options = parser.parse_args(arguments)
    try:
        settings = get_settings()
        given = settings.webgui_password
        if given is None and not options.behind_proxy:
            parser.error("a password must be in NEAREDGE_WEBGUI_PASSWORD")
        password = None if options.behind_proxy or given is None else given.get_secret_value()
        app = create_app(settings, password)
        listening = _listen(options.port)
    except (NearEdgeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    served = {
        "bind": f"fd://{listening.fileno()}",
        "workers": WORKERS,
        "timeout": 120,
        "control_socket_disable": True,
        "proc_name": "nearedge-webgui",
    }
    StandaloneApplication(app, served).run()
    return 0


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((LOOPBACK, port))
    listening.listen()
    return listening


if __name__ == "__main__":
    sys.exit(main())
