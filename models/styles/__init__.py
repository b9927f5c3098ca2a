"""RankAAE (arXiv:2301.04724): spectra in a few numbers, each of which follows one descriptor.

An autoencoder squeezes a spectrum into six numbers, its *styles*. All but the last are taught to
rank spectra as one descriptor of the structure ranks their sites, and an adversary keeps them
independent and normally distributed. Walking along one style then shows what that descriptor does
to a spectrum, the others held.
"""

from __future__ import annotations

from nearedge.models.styles.autoencoder import StyleModel
from nearedge.models.styles.judge import judge, track
from nearedge.models.styles.options import StyleOptions
from nearedge.models.styles.training import StyleRows, train_styles

__all__ = ["StyleModel", "StyleOptions", "StyleRows", "judge", "track", "train_styles"]
