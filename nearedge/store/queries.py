"""Typed questions to the store; nothing a user types reaches the database as an operator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Element

from nearedge.errors import DatabaseError
from nearedge.schemas.calculation import COMPLETED
from nearedge.schemas.spectrum import SpectrumKind
from nearedge.store.operations import Document

_EDGE = re.compile(r"K|L[1-3]|L23|M[1-5]|N[1-7]")


def _plain(value: str) -> str:
    if not value or value.startswith("$") or "\x00" in value:
        raise ValueError(f"{value!r} is no value to look for")
    return value


def _symbol(value: str) -> str:
    if not Element.is_valid_symbol(value):
        raise ValueError(f"{value!r} is no chemical element")
    return value


def _edge(value: str) -> str:
    if not _EDGE.fullmatch(value):
        raise ValueError(f"{value!r} is no edge such as K, L3 or M5")
    return value


def _reduced(value: str) -> str:
    try:
        formula = Composition(_plain(value), strict=True).reduced_formula
    except Exception:  # pymatgen raises many kinds, also for what only looks like a formula
        formula = ""
    if not formula:
        raise ValueError(f"{value!r} is no chemical formula such as TiO2")
    return str(formula)


def _chemsys(value: str) -> str:
    return "-".join(sorted({_symbol(symbol) for symbol in value.split("-")}))


Plain = Annotated[StrictStr, AfterValidator(_plain)]
Symbol = Annotated[StrictStr, AfterValidator(_symbol)]
Edge = Annotated[StrictStr, AfterValidator(_edge)]
Formula = Annotated[StrictStr, AfterValidator(_reduced)]
Chemsys = Annotated[StrictStr, AfterValidator(_chemsys)]


class Query(BaseModel):
    """What spectra and calculations are both asked for; all given conditions must hold.

    Raises
    ------
    DatabaseError
        If a value is malformed or a key unknown, naming it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    absorber: Symbol | None = None
    edge: Edge | None = None
    code: Plain | None = None
    protocol: Plain | None = None
    formula: Formula | None = Field(None, description="Any writing of it: Ti2O4 finds TiO2.")
    elements: Sequence[Symbol] | None = Field(None, description="Contains all of these.")
    chemsys: Chemsys | None = Field(None, description="Exactly these, such as Ti-O.")
    project: Plain | None = None
    structure_id: Plain | None = None
    structure_key: Plain | None = None
    parameters_id: Plain | None = None
    state: Plain | None = None

    def __init__(self, **conditions: object) -> None:
        try:
            super().__init__(**conditions)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = first["msg"].removeprefix("Value error, ")
            raise DatabaseError(f"The query's {where!r} cannot be used: {reason}.") from None

    def filter(self) -> Document:
        """Return the conditions in the database's language."""
        conditions: Document = {
            "structure_key": self.structure_key,
            "structure_id": self.structure_id,
            "formula": self.formula,
            **self._composition(),
            "projects": self.project,
            "absorber": self.absorber,
            "edge": self.edge,
            "code": self.code,
            "protocol": self.protocol,
            "parameters_id": self.parameters_id,
            "state": self.state,
        }
        return {name: value for name, value in conditions.items() if value is not None}

    def _composition(self) -> Document:
        symbols = sorted(set(self.elements or ()))
        if self.chemsys is not None:
            fits = set(symbols) <= set(self.chemsys.split("-"))
            return {"chemsys": self.chemsys if fits else {"$in": []}}
        if not symbols:
            return {}
        return {"elements": {"$all": symbols}}


class SpectrumQuery(Query):
    """Which spectra: see `Query`, and by kind, by their own ids and by those of calculations."""

    kind: SpectrumKind | None = None
    spectrum_ids: Sequence[Plain] | None = None
    calculation_ids: Sequence[Plain] | None = Field(
        None, description="Spectra made from any of these."
    )

    def filter(self) -> Document:
        """Return the conditions in the database's language."""
        found = super().filter()
        if self.kind is not None:
            found["kind"] = self.kind.value
        if self.spectrum_ids is not None:
            found["_id"] = {"$in": list(self.spectrum_ids)}
        if self.calculation_ids is not None:
            found["calculation_ids"] = {"$in": list(self.calculation_ids)}
        return found


class CalculationQuery(Query):
    """Which calculations: see `Query`, and by id, by failure, and by the site."""

    calculation_ids: Sequence[Plain] | None = None
    failed: bool | None = Field(None, description="True: any failure; False: completed only.")
    absorbing_index: int | None = None

    @field_validator("failed")
    @classmethod
    def _agrees(cls, failed: bool | None, info: ValidationInfo) -> bool | None:
        state = info.data.get("state")
        if failed is not None and state is not None and failed == (state == COMPLETED):
            raise ValueError(f"{failed} contradicts state {state!r}")
        return failed

    def filter(self) -> Document:
        """Return the conditions in the database's language."""
        found = super().filter()
        if self.failed is not None and self.state is None:
            found["state"] = {"$ne": COMPLETED} if self.failed else COMPLETED
        if self.absorbing_index is not None:
            found["absorbing_index"] = self.absorbing_index
        if self.calculation_ids is not None:
            found["_id"] = {"$in": list(self.calculation_ids)}
        return found
