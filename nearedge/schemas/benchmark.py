"""The benchmark document: codes, and references, against each other on several structures."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from nearedge.schemas.calculation import COMPLETED
from nearedge.schemas.document import Document, content_hash
from nearedge.spectra.spectrum import AbsorptionUnit, Spectrum

MISSING = "missing"
"""State of a spectrum that nothing is known of."""


class BenchmarkColumn(BaseModel):
    """What is compared: a code with a protocol, or spectra from elsewhere under one name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    kind: Literal["code", "reference"]
    code: str | None = None
    protocol: str | None = Field(None, description="Name@version, with changes.")

    @property
    def title(self) -> str:
        """The label, with the protocol where there is one."""
        return self.label if self.protocol is None else f"{self.code} {self.protocol}"


class ReferenceSpectrum(BaseModel):
    """A spectrum from elsewhere: an experiment, or another code."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    structure: str = Field(description="Label of the structure that it is of.")
    source: str = Field(description="Name of its file.")
    energy: list[float] = Field(description="eV")
    absorption: list[float]

    def to_spectrum(self) -> Spectrum:
        """Return the arrays as a checked spectrum."""
        return Spectrum(np.array(self.energy), np.array(self.absorption), AbsorptionUnit.ARBITRARY)


class BenchmarkSpectrum(BaseModel):
    """A structure's spectrum in one column, or why there is none."""

    model_config = ConfigDict(extra="forbid")

    column: str
    state: str = Field(description="`completed`, `incomplete`, `missing` or a failure's name.")
    message: str = Field("", description="Why there is no spectrum to compare.")
    spectrum_id: str | None = None
    source: str | None = Field(None, description="References: name of the file.")
    content: str | None = Field(None, description="Hash of energies and absorption.")

    @property
    def compared(self) -> bool:
        """Whether it takes part."""
        return self.state == COMPLETED


class BenchmarkPair(BaseModel):
    """Two columns on one structure; numbers are null where they could not be compared.

    `shift` (eV) is added to the second's energies to lie on the first; `low` and `high` (eV, on
    the first's axis) bound what was compared.
    """

    model_config = ConfigDict(extra="forbid")

    first: str
    second: str
    shift: float | None = None
    spearman: float | None = None
    pearson: float | None = None
    cosine: float | None = None
    low: float | None = None
    high: float | None = None
    edge_difference: float | None = None
    warning: str | None = Field(None, description="Why the alignment is doubtful, or impossible.")


class BenchmarkStructure(BaseModel):
    """One structure: its spectrum in each column, and every two of them."""

    model_config = ConfigDict(extra="forbid")

    label: str
    structure_key: str
    structure_id: str
    formula: str
    spectra: list[BenchmarkSpectrum]
    pairs: list[BenchmarkPair]


class BenchmarkMean(BaseModel):
    """Two columns over the structures where both could be compared."""

    model_config = ConfigDict(extra="forbid")

    first: str
    second: str
    structures: int = Field(ge=1, description="How many the means are over.")
    spearman: float
    pearson: float
    cosine: float
    shift: float = Field(description="eV")
    shift_range: float = Field(description="eV, largest minus smallest shift.")


class BenchmarkDoc(Document):
    """Spectra of several origins, each against each, on several structures."""

    collection: ClassVar[str] = "benchmarks"
    id_field: ClassVar[str] = "benchmark_id"

    benchmark_id: str
    absorber: str
    edge: str
    window: float = Field(gt=0, description="eV from the onset of each spectrum.")
    method: str = Field(description="How spectra are aligned.")
    broadening: str | None = Field(None, description="What computed spectra were broadened by.")
    columns: list[BenchmarkColumn]
    structures: list[BenchmarkStructure]
    means: list[BenchmarkMean]
    projects: list[str] = Field(default_factory=list)

    @property
    def missing(self) -> list[tuple[str, BenchmarkSpectrum]]:
        """Structure and column of what takes no part."""
        return [
            (structure.label, each)
            for structure in self.structures
            for each in structure.spectra
            if not each.compared
        ]


def spectrum_hash(spectrum: Spectrum) -> str:
    """Return a hash of a spectrum's values."""
    return content_hash([spectrum.energy.tolist(), spectrum.absorption.tolist()])


def benchmark_id(
    absorber: str,
    edge: str,
    window: float,
    method: str,
    broadening: str | None,
    columns: list[BenchmarkColumn],
    spectra: dict[str, list[BenchmarkSpectrum]],
) -> str:
    """Return the id: the same where the same spectra are compared in the same way.

    Parameters
    ----------
    spectra
        By the structure's key: of each column.
    """
    compared = {
        key: [[each.column, each.state, each.content] for each in row]
        for key, row in spectra.items()
    }
    labels = [column.model_dump() for column in columns]
    return content_hash(["benchmark", absorber, edge, window, method, broadening, labels, compared])
