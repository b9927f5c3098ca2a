"""Import FireWorks so that no configuration file lying about has an effect.

While it is imported, FireWorks reads ``FW_config.yaml`` from the working folder, then from
``~/.fireworks``, then the file that ``FW_CONFIG_FILE`` names; a file in the working folder beats
the one that was asked for, and each may redirect the launchpad. NearEdge's own settings say where
the database is, so FireWorks is imported from an empty folder, with an empty home and without its
environment variables.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLES = ("FW_CONFIG_FILE", "MONGOMOCK_SERVERSTORE_FILE")


def import_fireworks_alone() -> None:
    """Import FireWorks with its built-in defaults; do nothing where it is imported already."""
    if "fireworks.fw_config" in sys.modules:
        return
    with tempfile.TemporaryDirectory() as empty, _environment(empty), _folder(empty):
        importlib.import_module("fireworks")


@contextmanager
def _environment(home: str) -> Iterator[None]:
    kept = {name: os.environ.get(name) for name in (*_VARIABLES, "HOME")}
    for name in _VARIABLES:
        os.environ.pop(name, None)
    os.environ["HOME"] = home
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _folder(path: str) -> Iterator[None]:
    # By descriptor: the working folder may have been deleted, and must be left as it was found.
    before = os.open(".", os.O_RDONLY)
    os.chdir(path)
    try:
        yield
    finally:
        os.fchdir(before)
        os.close(before)
