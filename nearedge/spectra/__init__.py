"""Spectra as pure numpy: no files, no database, no settings."""
