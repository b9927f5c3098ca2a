"""Tests of jobs; a package, so that they can share the sites of `copper`."""
