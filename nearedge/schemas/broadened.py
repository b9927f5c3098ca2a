"""Broadening a spectrum document, which knows what it contains and takes nothing twice."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nearedge.errors import SpectrumError
from nearedge.schemas.document import content_hash
from nearedge.schemas.spectrum import Broadening, SpectrumDoc
from nearedge.spectra.broadening import Arctangent, arctangent, gaussian, lorentzian, voigt
from nearedge.spectra.spectrum import Spectrum
from nearedge.structures.elements import core_hole_width

Kind = Literal["core-hole", "lorentzian", "gaussian", "voigt", "arctangent"]

FORMS = (
    "core-hole, lorentzian:WIDTH, gaussian:WIDTH, voigt:LORENTZIAN,GAUSSIAN or "
    "arctangent:MAXIMUM,CENTER,SPREAD; widths in eV (FWHM); with +total at the end, what is "
    "contained already counts"
)
"""What `BroadeningRequest.parse` takes, for people."""

SAME = 0.1
"""Share of a width by which two tables of core-hole widths may differ and mean the same."""

_NUMBERS = {"core-hole": 0, "lorentzian": 1, "gaussian": 1, "voigt": 2, "arctangent": 3}
_LIFETIMES = ("lorentzian", "arctangent")


@dataclass(frozen=True)
class BroadeningRequest:
    """What somebody wants a spectrum to be broadened by.

    Parameters
    ----------
    kind
        ``core-hole`` is a Lorentzian with the width of the tables for absorber and edge.
    numbers
        eV: a width; for ``voigt`` the Lorentzian's and the Gaussian's; for ``arctangent`` maximum,
        center and spread of `Arctangent`, whose `hole` is the core-hole width of the tables.
    total
        Whether what the spectrum contains already counts: only the difference is added.
        Lorentzian widths add, Gaussian ones add in quadrature.
    """

    kind: Kind
    numbers: tuple[float, ...] = ()
    total: bool = False

    @classmethod
    def parse(cls, text: str) -> BroadeningRequest:
        """Read what a user typed, such as ``core-hole``, ``voigt:0.9,0.5`` or ``gaussian:1+total``.

        Raises
        ------
        SpectrumError
            If it is none of `FORMS`, or a number is not positive.
        """
        found = re.fullmatch(r"([a-z-]+)(?::([^+]*))?(\+total)?", text.strip())
        name = {"arctan": "arctangent"}.get(found[1], found[1]) if found else ""
        if found is None or name not in _NUMBERS:
            raise SpectrumError(f"{text!r} is no broadening; give {FORMS}.")
        words = found[2].split(",") if found[2] is not None else []
        try:
            numbers = tuple(float(word) for word in words)
        except ValueError:
            numbers = (math.nan,)
        if len(numbers) != _NUMBERS[name] or not all(0 < n < math.inf for n in numbers):
            raise SpectrumError(
                f"{text!r} is no broadening: {name} takes {_NUMBERS[name]} positive numbers of eV; "
                f"give {FORMS}."
            )
        return cls(name, numbers, found[3] is not None)  # type: ignore[arg-type]

    def apply(self, spectrum: Spectrum) -> Spectrum:
        """Return a bare spectrum broadened, whatever it contains: nobody has said what.

        Raises
        ------
        SpectrumError
            If the request needs an element or an edge, or is for a total.
        """
        match self.kind, self.total:
            case "lorentzian", False:
                return lorentzian(spectrum, self.numbers[0])
            case "gaussian", False:
                return gaussian(spectrum, self.numbers[0])
            case "voigt", False:
                return voigt(spectrum, *self.numbers)
        raise SpectrumError(
            f"{self} needs to know what a spectrum contains and is of; for one from elsewhere give "
            "lorentzian, gaussian or voigt with their widths."
        )

    def __str__(self) -> str:
        numbers = ",".join(f"{number:g}" for number in self.numbers)
        return self.kind + (f":{numbers}" if numbers else "") + ("+total" if self.total else "")


def broadened(document: SpectrumDoc, request: BroadeningRequest) -> SpectrumDoc:
    """Return `document` broadened, saying so, under an id of its own.

    A document that in total has what is asked for already is returned as it is.

    Raises
    ------
    SpectrumError
        If the document contains broadening of the same kind and the request is not for a total; if
        it contains more than the total, which nothing takes away; or if an arctangent is asked for
        and the document states no edge.
    StructureError
        If the tables have no core-hole width.
    """
    hole = 0.0
    if request.kind in ("core-hole", "arctangent"):
        hole = core_hole_width(document.absorber, document.edge)
    added: list[Broadening] = []
    match request.kind:
        case "core-hole":
            added += _lifetime(document, hole, "core-hole lifetime, xraydb", request)
        case "lorentzian":
            added += _lifetime(document, request.numbers[0], "added by nearedge", request)
        case "gaussian":
            added += _instrument(document, request.numbers[0], request)
        case "voigt":
            added += _lifetime(document, request.numbers[0], "added by nearedge", request)
            added += _instrument(document, request.numbers[1], request)
        case "arctangent":
            added += _growing(document, hole, request)
    if not added:
        return document
    result = _applied(document, added)
    told = [each.model_dump() for each in added]
    return document.model_copy(
        update={
            "spectrum_id": content_hash(["broadened", document.spectrum_id, told]),
            "absorption": result.absorption.tolist(),
            "broadening": [*document.broadening, *added],
        }
    )


def _lifetime(
    document: SpectrumDoc, width: float, origin: str, request: BroadeningRequest
) -> list[Broadening]:
    contained = _contained(document, _LIFETIMES)
    if not contained:
        return [Broadening(kind="lorentzian", width=width, origin=origin)]
    _refuse_unless_total(document, contained, request)
    if any(each.kind == "arctangent" for each in contained):
        raise SpectrumError(
            f"{_name(document)} contains a Lorentzian whose width grows with energy, so there is "
            "no total width to reach: broaden the stored spectrum instead."
        )
    missing = width - sum(each.width for each in contained)
    if _enough(document, contained, missing, width):
        return []
    return [Broadening(kind="lorentzian", width=missing, origin=f"{origin}, up to {width:g} eV")]


def _instrument(
    document: SpectrumDoc, width: float, request: BroadeningRequest
) -> list[Broadening]:
    contained = _contained(document, ("gaussian",))
    if not contained:
        return [Broadening(kind="gaussian", width=width, origin="added by nearedge")]
    _refuse_unless_total(document, contained, request)
    square = width**2 - sum(each.width**2 for each in contained)
    missing = math.copysign(math.sqrt(abs(square)), square)
    if _enough(document, contained, missing, width):
        return []
    origin = f"added by nearedge, up to {width:g} eV"
    return [Broadening(kind="gaussian", width=missing, origin=origin)]


def _growing(document: SpectrumDoc, hole: float, request: BroadeningRequest) -> list[Broadening]:
    if document.energy_reference.edge_energy is None:
        raise SpectrumError(
            f"{_name(document)} states no edge energy, which an arctangent grows from: choose a "
            "width that does not depend on energy."
        )
    at_the_edge = _lifetime(document, hole, "core-hole lifetime, xraydb", request)
    maximum, center, spread = request.numbers
    return [
        Broadening(
            kind="arctangent",
            width=sum(each.width for each in at_the_edge),
            origin="core-hole and photoelectron lifetime, added by nearedge",
            maximum=maximum,
            center=center,
            spread=spread,
        )
    ]


def _applied(document: SpectrumDoc, added: Sequence[Broadening]) -> Spectrum:
    spectrum = document.to_spectrum()
    widths = {each.kind: each.width for each in added}
    for each in added:
        edge = document.energy_reference.edge_energy
        if each.kind == "arctangent" and edge is not None:
            shape = Arctangent(
                each.width, each.maximum or 0.0, each.center or 0.0, each.spread or 0.0
            )
            return arctangent(spectrum, shape, edge)
    if len(widths) == 2:
        return voigt(spectrum, widths["lorentzian"], widths["gaussian"])
    (only,) = added
    return (lorentzian if only.kind == "lorentzian" else gaussian)(spectrum, only.width)


def _contained(document: SpectrumDoc, kinds: Sequence[str]) -> list[Broadening]:
    return [each for each in document.broadening if each.kind in kinds and each.width > 0]


def _refuse_unless_total(
    document: SpectrumDoc, contained: Sequence[Broadening], request: BroadeningRequest
) -> None:
    if request.total:
        return
    raise SpectrumError(
        f"{_name(document)} contains {_told(contained)} already, and {request} would broaden it "
        f"twice: ask for {request}+total to reach that width in all."
    )


def _enough(
    document: SpectrumDoc, contained: Sequence[Broadening], missing: float, width: float
) -> bool:
    """Whether what is contained is what is asked for; tables of widths differ a little."""
    if missing < -SAME * width:
        raise SpectrumError(
            f"{_name(document)} contains {_told(contained)}, more than the {width:g} eV asked for: "
            "nothing takes broadening away."
        )
    return missing <= 1e-6 * width


def _told(contained: Sequence[Broadening]) -> str:
    return " and ".join(f"a {each.kind} of {each.width:g} eV ({each.origin})" for each in contained)


def _name(document: SpectrumDoc) -> str:
    return (
        f"The {document.code} spectrum {document.spectrum_id[:12]} of {document.formula} "
        f"{document.absorber} {document.edge}"
    )
