"""Flows: how jobs follow one another for a spectrum, and campaigns of many."""
