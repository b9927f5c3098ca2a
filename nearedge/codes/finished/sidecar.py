"""``nearedge.json``: what a run folder is of, beside its input files.

Written into every folder of inputs that NearEdge makes for others to run (`nearedge submit
--inputs-only`) and into its own run folders that are kept. As long as the input files are unchanged
it says exactly what was computed, so that results taken back by `nearedge ingest` get the very
``calculation_id`` that NearEdge's own run would have had.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pymatgen.core import Structure

from nearedge.codes.base import InputSet
from nearedge.errors import IngestError
from nearedge.schemas.calculation import Parameter
from nearedge.structures.stored import stored_structure

SIDECAR = "nearedge.json"
MAX_BYTES = 16 * 1024**2
"""A crystal of a thousand sites takes half of one MiB."""
_FORMAT = 1


class _Content(BaseModel):
    """The file's content."""

    model_config = ConfigDict(extra="forbid")

    format: int = _FORMAT
    label: str = Field(description="What people call the structure.")
    code: str
    code_version: str | None = Field(
        None, description="Of the run that was made here; None where only inputs were."
    )
    protocol: str
    structure: dict[str, JsonValue]
    absorbing_index: int = Field(ge=0)
    edge: str
    parameters: dict[str, Parameter]
    files: dict[str, str] = Field(description="Input files: name to the SHA-256 of its bytes.")


@dataclass(frozen=True)
class Sidecar:
    """What a folder is of; `files` has the SHA-256 of each input file by name."""

    label: str
    code: str
    code_version: str | None
    protocol: str
    structure: Structure
    absorbing_index: int
    edge: str
    parameters: dict[str, Parameter]
    files: dict[str, str]

    def fits(self, content: Callable[[str], bytes | None]) -> bool:
        """Return whether every input file is as it was written.

        Parameters
        ----------
        content
            Gives the bytes of a file by its name, or None where it is gone.
        """
        return all(
            (found := content(name)) is not None and _sha256(found) == digest
            for name, digest in self.files.items()
        )


def sidecar_text(
    inputs: InputSet,
    structure: Structure,
    absorbing_index: int,
    edge: str,
    *,
    label: str,
    ran: bool,
) -> str:
    """Return the text of ``nearedge.json``.

    Parameters
    ----------
    inputs
        The files beside it, and what identifies them.
    structure, absorbing_index, edge
        What they were made from.
    label
        What people call the structure.
    ran
        Whether `inputs.code_version` is that of the program that ran here.
    """
    content = _Content(
        label=label,
        code=inputs.code,
        code_version=inputs.code_version if ran else None,
        protocol=inputs.protocol,
        structure=json.loads(structure.to_json()),
        absorbing_index=absorbing_index,
        edge=edge,
        parameters=inputs.parameters,
        files=_digests(inputs.files),
    )
    return content.model_dump_json(indent=1) + "\n"


def parse_sidecar(text: str | bytes) -> Sidecar:
    """Read ``nearedge.json``.

    Raises
    ------
    IngestError
        If it is not what `sidecar_text` writes.
    """
    if len(text) > MAX_BYTES:
        raise IngestError(f"{SIDECAR} is larger than {MAX_BYTES >> 20} MiB: it is none of ours.")
    try:
        content = _Content.model_validate_json(text)
        structure = stored_structure(content.structure)
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise IngestError(f"{SIDECAR} is damaged ({reason}): remove it or restore it.") from None
    if content.format != _FORMAT or content.absorbing_index >= len(structure):
        raise IngestError(f"{SIDECAR} is of another format or damaged: remove it or restore it.")
    return Sidecar(
        label=content.label,
        code=content.code,
        code_version=content.code_version,
        protocol=content.protocol,
        structure=structure,
        absorbing_index=content.absorbing_index,
        edge=content.edge,
        parameters=content.parameters,
        files=content.files,
    )


def _digests(files: Mapping[str, str]) -> dict[str, str]:
    return {name: _sha256(text.encode()) for name, text in files.items()}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
