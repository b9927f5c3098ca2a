"""The calculation document: what ran, with which parameters, and how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from nearedge.schemas.document import Document, content_hash

COMPLETED = "completed"
"""The state of a calculation that gave a spectrum; any other state is the name of a failure."""

ParameterValue = bool | int | float | str | list[bool | int | float | str]


class Parameter(BaseModel):
    """A physical parameter with its unit; None where it has none."""

    model_config = ConfigDict(extra="forbid")

    value: ParameterValue
    unit: str | None = None


class Failure(BaseModel):
    """Why a calculation gave no spectrum."""

    model_config = ConfigDict(extra="forbid")

    name: str
    message: str
    log_tail: str = ""


def parameters_id(code: str, code_version: str, parameters: dict[str, Parameter]) -> str:
    """Return one value for all calculations that differ in structure, absorber and edge only."""
    return content_hash(
        [code, code_version, {name: p.model_dump() for name, p in parameters.items()}]
    )


def calculation_id(
    structure_key: str, absorber: str, absorbing_index: int, edge: str, parameters_id: str
) -> str:
    """Return the id of a calculation: the same inputs give the same id on every machine."""
    return content_hash(
        ["calculation", structure_key, absorber, absorbing_index, edge, parameters_id]
    )


class CalculationDoc(Document):
    """One absorbing site, one edge, one code, one set of parameters."""

    collection: ClassVar[str] = "calculations"
    id_field: ClassVar[str] = "calculation_id"

    calculation_id: str
    structure_key: str
    structure_id: str
    formula: str
    elements: list[str]
    absorber: str
    absorbing_index: int = Field(ge=0, description="Index of the site in the exact structure.")
    edge: str
    code: str
    code_version: str
    protocol: str = Field(description="Name@version, such as fast@1, or `custom`.")
    parameters_id: str
    parameters: dict[str, Parameter]
    state: str = Field(description="`completed` or the name of a failure.")
    failure: Failure | None = None
    inputs: dict[str, str] = Field(
        default_factory=dict, description="Input files: name to text, or to `blob:<sha256>`."
    )
    results: dict[str, Parameter] = Field(
        default_factory=dict, description="Scalars read from the output, such as the Fermi level."
    )
    warnings: list[str] = Field(default_factory=list)
    attempts: int = Field(1, ge=1, description="How often the code was started for this result.")
    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    host: str | None = None
    run_dir: str | None = Field(None, description="Where the files are, if they were kept.")
    parents: list[str] = Field(
        default_factory=list, description="calculation_ids it was made from."
    )
    origin: str = Field("run", description="`run`, or `ingest:<label>` for others' results.")
    restart_key: str | None = Field(
        None, description="The same for all calculations on a site that can share `restart`."
    )
    restart: dict[str, str] = Field(
        default_factory=dict,
        description="What another spectrum can be made from without the expensive part: name of "
        "the file to `base64:<content>`, or in the store to `blob:<sha256>`.",
    )
    projects: list[str] = Field(default_factory=list)
    filed_at: datetime | None = Field(
        None, description="When it joined a project later on, by the database server's clock."
    )

    @property
    def completed(self) -> bool:
        """Whether this calculation gave a spectrum."""
        return self.state == COMPLETED
