"""The `nearedge` command: what people type, and nothing that is not said elsewhere."""

from nearedge.cli.app import app, main

__all__ = ["app", "main"]
