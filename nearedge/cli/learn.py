"""`dataset`, `train`, `evaluate`, `predict`, `featurize`, `models`: learn from spectra."""

from __future__ import annotations

import typer

dataset = typer.Typer(no_args_is_help=True, help="Freeze, list and show data sets.")
models = typer.Typer(no_args_is_help=True, help="List, show and export trained models.")


def train() -> None:
    """Train."""


def evaluate() -> None:
    """Evaluate."""


def predict() -> None:
    """Predict."""


def featurize() -> None:
    """Featurize."""
