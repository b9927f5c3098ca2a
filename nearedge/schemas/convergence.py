"""The convergence document: parameters raised until spectra stay as they are."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nearedge.schemas.calculation import COMPLETED
from nearedge.schemas.document import Document, content_hash

SettingValue = bool | int | float | str | list[float]
"""A protocol's setting."""

Verdict = Literal["open", "converged", "not_converged", "failed"]
"""``open`` while steps are still to come; ``failed`` where no step gave a spectrum."""


class Thresholds(BaseModel):
    """How alike the spectra of successive values must be after alignment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spearman: float = Field(gt=0, le=1, description="At least this rank correlation.")
    mse: float = Field(gt=0, description="At most this, of spectra scaled to a mean of one.")


class RaisedParameter(BaseModel):
    """A setting of a code's protocols, and the values that it is given one after the other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    unit: str | None = None
    values: list[SettingValue] = Field(min_length=2)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        numbers = [value for value in self.values if not isinstance(value, str | list)]
        if len(numbers) == len(self.values):
            pairs = list(pairwise(numbers))
            if not (all(a < b for a, b in pairs) or all(a > b for a, b in pairs)):
                raise ValueError(f"the values of {self.name} must go one way, each once")
        elif any(value in self.values[:at] for at, value in enumerate(self.values)):
            raise ValueError(f"a value of {self.name} is given twice")
        return self


class StepComparison(BaseModel):
    """A step's spectrum against the one of the step before that completed.

    Energies in eV. `shift` is added to this step's energies to lie on the other's; the changes are
    this step's edge and Fermi level minus the other's, where the code states both.
    """

    model_config = ConfigDict(extra="forbid")

    with_value: SettingValue
    spearman: float
    pearson: float
    mse: float
    shift: float
    edge_change: float | None = None
    fermi_change: float | None = None
    agrees: bool = Field(description="Within the thresholds.")
    identical: bool = Field(False, description="The change had no effect at all.")


class ConvergenceStep(BaseModel):
    """One value of one parameter: a calculation, and how it compares with the one before."""

    model_config = ConfigDict(extra="forbid")

    value: SettingValue
    protocol: str = Field(description="What was computed: `balanced@1+fms_radius=7.0`.")
    calculation_id: str
    spectrum_id: str | None = None
    state: str = Field(description="`completed` or the name of a failure.")
    message: str = Field("", description="Of a failure, or why it could not be compared.")
    cpu_seconds: float | None = None
    edge_energy: float | None = None
    fermi_energy: float | None = None
    comparison: StepComparison | None = None

    @property
    def completed(self) -> bool:
        """Whether the step has a spectrum."""
        return self.state == COMPLETED


class ParameterConvergence(BaseModel):
    """What became of one parameter."""

    model_config = ConfigDict(extra="forbid")

    name: str
    unit: str | None = None
    values: list[SettingValue]
    verdict: Verdict = "open"
    chosen: SettingValue | None = Field(
        None, description="Kept while later parameters are raised; null: the protocol's own."
    )
    steps: list[ConvergenceStep] = Field(default_factory=list)

    @property
    def failures(self) -> list[ConvergenceStep]:
        """Steps without a spectrum."""
        return [step for step in self.steps if not step.completed]


class ConvergenceDoc(Document):
    """One code, one site, one protocol: how far each parameter has to be raised."""

    collection: ClassVar[str] = "convergences"
    id_field: ClassVar[str] = "convergence_id"

    convergence_id: str
    structure_key: str
    structure_id: str
    formula: str
    elements: list[str]
    label: str = Field(description="What the structure is called where it came from.")
    absorber: str
    absorbing_index: int = Field(ge=0)
    edge: str
    code: str
    code_version: str
    protocol: str
    thresholds: Thresholds
    window: float = Field(gt=0, description="eV")
    parameters: list[ParameterConvergence]
    state: Literal["running", "finished"] = "running"
    cpu_seconds: float = Field(0.0, description="Of all different calculations together.")
    projects: list[str] = Field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to compute."""
        return self.state == "finished"

    @property
    def converged(self) -> bool:
        """Whether every parameter is."""
        return all(each.verdict == "converged" for each in self.parameters)

    @property
    def chosen(self) -> dict[str, SettingValue]:
        """The chosen values by name, of the parameters that have one."""
        return {each.name: each.chosen for each in self.parameters if each.chosen is not None}


def convergence_id(
    structure_key: str,
    absorber: str,
    absorbing_index: int,
    edge: str,
    code: str,
    code_version: str,
    protocol: str,
    parameters: list[RaisedParameter],
    thresholds: Thresholds,
    window: float,
) -> str:
    """Return the id of a convergence: the same question has the same id on every machine."""
    return content_hash(
        [
            "convergence",
            structure_key,
            absorber,
            absorbing_index,
            edge,
            [code, code_version, protocol],
            [[each.name, each.values] for each in parameters],
            [thresholds.spearman, thresholds.mse, window],
        ]
    )
