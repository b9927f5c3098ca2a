"""Figures of spectra: described once, drawn as HTML (plotly) or PNG (matplotlib)."""

from nearedge.plots.figure import Band, Curve, Figure, Role

__all__ = ["Band", "Curve", "Figure", "Role"]
