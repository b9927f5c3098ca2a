"""Every error that NearEdge raises on purpose.

Each message says what is wrong, with which input, and what to do next. The command line prints the
message alone; the class tells code what happened.
"""

from __future__ import annotations


class NearEdgeError(Exception):
    """The root: catch this to catch everything that NearEdge raises on purpose."""


class SettingsError(NearEdgeError):
    """A setting is unknown, malformed or missing."""


class StructureError(NearEdgeError):
    """A structure is refused before anything is run on it."""


class SpectrumError(NearEdgeError):
    """Arrays or units that do not make a spectrum, or spectra that do not fit together."""


class CodeError(NearEdgeError):
    """A simulation code failed, or would fail, in a way that has a name.

    Parameters
    ----------
    name
        The failure's name in lower snake case, such as ``scf_not_converged``. It is what the
        database stores as the calculation's state and what `rerun` and `failures` group by.
    message
        One sentence: what is wrong, where, what to do.
    log_tail
        The last lines of the code's own logs; empty where nothing was run.
    """

    def __init__(self, name: str, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.log_tail = log_tail

    def __reduce__(self) -> tuple[type[CodeError], tuple[str, str, str]]:
        """Survive the way between processes: the default would pass one argument only."""
        return (type(self), (self.name, self.message, self.log_tail))


class InputRefused(CodeError):
    """A code's input that was refused before the code was started."""


class ResourceError(NearEdgeError):
    """The machine, not the calculation, is at fault (disk full, memory, killed): run it again."""


class DatabaseError(NearEdgeError):
    """The database cannot do what was asked."""


class DatabaseUnavailable(DatabaseError):
    """No database answers where the settings say it is."""


class ForeignDatabase(DatabaseError):
    """A database answers, but it does not carry NearEdge's identity document."""


class SchemaError(DatabaseError):
    """A stored document cannot be read as this version's schema."""


class IngestError(NearEdgeError):
    """A finished calculation on disk cannot be read."""


class DatasetError(NearEdgeError):
    """A data set that cannot be frozen, or whose content does not match its hash."""


class ModelError(NearEdgeError):
    """A model that cannot be trained, loaded or applied."""


class WeightsError(ModelError):
    """Pretrained weights are missing, damaged, or compute wrong numbers."""


class LaunchError(NearEdgeError):
    """A workflow cannot be submitted, or a worker must not start."""


class LaunchGivenUp(LaunchError):
    """A launch was given up, its job put back: what it would still write is refused."""


class JobRefused(LaunchError):
    """A job of the queue names, or asks for, what no job of NearEdge does; it is not run."""


class OutputError(NearEdgeError):
    """A file that the user asked for cannot be written."""
