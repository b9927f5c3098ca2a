"""Featurizers, heads that predict spectra, their metrics, and models as folders."""
