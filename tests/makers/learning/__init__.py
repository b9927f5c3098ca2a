"""Tests of learning; a package, so that they can share the sites of `copper`."""
