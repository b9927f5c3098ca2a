"""A finished result that waits on this machine's disk until the database takes it.

Written before a result is stored and removed after, so that hours of computing survive a database
that is away, or a worker that is killed at that moment: the next run of the same calculation on the
same machine stores what lies here instead of computing it again.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from pydantic import ValidationError

from nearedge.schemas import CalculationDoc, SpectrumDoc, StructureDoc
from nearedge.store.records import Record

log = logging.getLogger(__name__)

RESULT = "result.json"


def save_leftover(folder: Path, record: Record) -> bool:
    """Write `record` into `folder` as a whole or not at all; return whether that went well.

    A disk that is full costs the safety net, never the result: the caller stores it anyway.
    """
    content = {
        "calculation": record.calculation.model_dump(mode="json"),
        "spectrum": None if record.spectrum is None else record.spectrum.model_dump(mode="json"),
        "structure": None if record.structure is None else record.structure.model_dump(mode="json"),
    }
    partial = folder / f"{RESULT}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / RESULT)
    except OSError as error:
        log.warning("The result could not be kept in %s: %s", folder, error)
        return False
    return True


def load_leftover(folder: Path, calculation_id: str) -> Record | None:
    """Return the record that lies in `folder` if it is of that calculation and whole."""
    try:
        content = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        spectrum, structure = content["spectrum"], content["structure"]
        record = Record(
            CalculationDoc.model_validate(content["calculation"]),
            None if spectrum is None else SpectrumDoc.model_validate(spectrum),
            None if structure is None else StructureDoc.model_validate(structure),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        log.warning("Ignoring the unreadable result in %s: %s", folder, error)
        return None
    return record if record.calculation.calculation_id == calculation_id else None


def remove_leftover(folder: Path) -> None:
    """Remove what `save_leftover` wrote."""
    (folder / RESULT).unlink(missing_ok=True)
    (folder / f"{RESULT}.partial").unlink(missing_ok=True)
