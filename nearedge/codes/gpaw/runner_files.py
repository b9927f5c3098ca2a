"""Names of the files in a run folder; those of GPAW's side are in `runner.py` too."""

from __future__ import annotations

SCRIPT = "run_gpaw.py"
INPUT = "gpaw.json"
"""What GPAW computes."""
PLAN = "spectrum.json"
"""What is made of GPAW's states."""
LOG = "gpaw.txt"
GROUND_LOG = "ground.txt"
STATES_LOG = "states.txt"
STICKS = "sticks.txt"
FAILURE = "failure.json"
RUN_LOG = "run_gpaw.log"
