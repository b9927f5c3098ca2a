"""Run OCEAN by the command that the settings name."""

from __future__ import annotations

from nearedge.codes.executables import Executable
from nearedge.codes.ocean.failures import LOG, failure_of
from nearedge.codes.ocean.parse import read_folder
from nearedge.codes.stages import OneProgram

OCEAN_PL = Executable("ocean_command", "install OCEAN (https://github.com/times-software/OCEAN)")
PROGRAM = OneProgram(OCEAN_PL, "ocean", LOG, (LOG,), failure_of, read_folder)
