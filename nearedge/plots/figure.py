"""What a figure shows, apart from how a backend draws it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from nearedge.errors import SpectrumError
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#7f3c8d", "#333333")
"""Colours that people with colour-blindness tell apart, after Okabe and Ito's set; the yellow and
the light orange are darkened, since lines in them vanish on white."""

_ORDERED = ("#e69f42", "#c2476b", "#6a2d91", "#16124d")
"""Light to dark, and told apart by people with colour-blindness by their lightness."""

INK = "#1b1f24"
"""Colour of the curve that a figure is about."""

DASHES = ("solid", "dash", "dot", "dashdot")
"""Once the palette is used up, curves differ by these."""

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class Role(StrEnum):
    """What a curve is to its figure; a backend draws each role in its own weight."""

    MAIN = "main"
    """The curve the figure is about: thick and dark."""
    DETAIL = "detail"
    """One of many, such as a site under its average: thin."""
    OVERLAY = "overlay"
    """One of several that are compared: medium."""
    REFERENCE = "reference"
    """What the others are judged against: dashed."""


@dataclass(frozen=True, eq=False)
class Band:
    """An interval around a curve, in the curve's unit, shape ``(n,)`` each."""

    low: FloatArray
    high: FloatArray
    label: str


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a figure.

    Parameters
    ----------
    label
        What the legend says, as plain text.
    energy, absorption
        Energies in eV and absorption in the figure's unit, shape ``(n,)`` each.
    role
        What the curve is to the figure.
    band
        An interval around the curve.
    edge_energy
        The edge on this curve's axis in eV, before any shift; None where it is not known.
    shift
        What was added to the energies in eV to align the curve; printed in the legend.
    color
        In place of the palette's, such as one of `ordered_colors`.
    """

    label: str
    energy: FloatArray
    absorption: FloatArray
    role: Role = Role.OVERLAY
    band: Band | None = None
    edge_energy: float | None = None
    shift: float | None = None
    color: str | None = None

    @property
    def legend(self) -> str:
        """The label with the shift, where there was one."""
        return self.label if self.shift is None else f"{self.label} ({signed(self.shift)} eV)"


@dataclass(frozen=True)
class Style:
    """How a curve is drawn: line width in points, dash by plotly's names."""

    color: str
    width: float
    dash: str
    opacity: float


@dataclass(frozen=True, eq=False)
class Figure:
    """Curves on one axis of energies, with an optional panel of residuals below.

    Parameters
    ----------
    title, subtitle
        Plain text; the subtitle may be empty.
    curves
        What is drawn.
    y_label
        The absorption axis with its unit.
    residuals
        Curves of the panel below, on the same energies; each has the colour of the curve with the
        same label.
    caption
        A sentence for readers who cannot see the picture; HTML pages print it below.
    relative
        Whether energies are counted from each curve's own edge.
    x_range
        Energies in eV that are shown at first; None shows all.
    """

    title: str
    curves: tuple[Curve, ...]
    y_label: str
    subtitle: str = ""
    residuals: tuple[Curve, ...] = ()
    caption: str = ""
    relative: bool = False
    x_range: tuple[float, float] | None = None

    @property
    def x_label(self) -> str:
        """The energy axis with its unit."""
        return "E − E_edge (eV)" if self.relative else "Energy (eV)"

    def styles(self) -> dict[str, Style]:
        """Return the style of every curve by its label."""
        styles: dict[str, Style] = {}
        many = sum(curve.role is Role.DETAIL for curve in self.curves) > len(PALETTE)
        coloured = 0
        for curve in self.curves:
            if curve.role is Role.MAIN:
                styles[curve.label] = Style(INK, 2.4, "solid", 1.0)
                continue
            color = curve.color or PALETTE[coloured % len(PALETTE)]
            dash = DASHES[coloured // len(PALETTE) % len(DASHES)]
            coloured += 1
            if curve.role is Role.DETAIL:
                styles[curve.label] = Style(color, 1.2, dash, 0.6 if many else 0.9)
            elif curve.role is Role.REFERENCE:
                styles[curve.label] = Style(color, 2.0, "dash", 1.0)
            else:
                styles[curve.label] = Style(color, 1.8, dash, 1.0)
        return styles

    def counted_from_edge(self) -> Figure:
        """Return the figure with each curve's energies counted from its own edge.

        Raises
        ------
        SpectrumError
            If the edge of a curve is not known.
        """
        if self.relative:
            return self
        moved = []
        for curve in self.curves:
            if curve.edge_energy is None:
                raise SpectrumError(
                    f"{curve.label}: its edge energy is not known, so its energies cannot be "
                    "counted from the edge; plot it without E − E_edge."
                )
            moved.append(
                replace(curve, energy=curve.energy - curve.edge_energy, edge_energy=0.0, shift=None)
            )
        return replace(self, curves=tuple(moved), residuals=(), relative=True, x_range=None)

    def with_residuals(self, reference: str) -> Figure:
        """Return the figure with a panel of every curve minus the curve labelled `reference`.

        Differences are taken on the reference's energies, where both curves have values.

        Raises
        ------
        SpectrumError
            If no curve has that label.
        """
        found = [curve for curve in self.curves if curve.label == reference]
        if not found:
            raise SpectrumError(f"No curve is called {reference!r}, so nothing can be subtracted.")
        base = found[0]
        residuals = []
        for curve in self.curves:
            inside = (base.energy >= curve.energy[0]) & (base.energy <= curve.energy[-1])
            if curve is base or not inside.any():
                continue
            energy = base.energy[inside]
            difference = np.interp(energy, curve.energy, curve.absorption) - base.absorption[inside]
            residuals.append(replace(curve, energy=energy, absorption=difference, band=None))
        return replace(self, residuals=tuple(residuals))


def ordered_colors(count: int) -> list[str]:
    """Return colours from light to dark, for curves that follow one another."""
    places = np.linspace(0.0, 1.0, max(count, 1))
    channels = np.array([[int(each[n : n + 2], 16) for n in (1, 3, 5)] for each in _ORDERED])
    stops = np.linspace(0.0, 1.0, len(_ORDERED))
    mixed = np.array([np.interp(places, stops, channels[:, n]) for n in range(3)]).T.round()
    return [f"#{int(r):02x}{int(g):02x}{int(b):02x}" for r, g, b in mixed[:count]]


def unique_labels(labels: list[str]) -> list[str]:
    """Number the labels that occur more than once, since a style belongs to a label."""
    seen: dict[str, int] = {}
    unique = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        unique.append(label if seen[label] == 1 else f"{label} · {seen[label]}")
    return unique


def pretty_formula(formula: str) -> str:
    """Return a formula with subscripts: Ti2O3 becomes Ti₂O₃."""
    return re.sub(r"(?<=[A-Za-z)\]])\d+", lambda m: m.group().translate(_SUBSCRIPTS), formula)


def absorption_label(unit: AbsorptionUnit) -> str:
    """Return the absorption axis's label, with the unit."""
    if unit in (AbsorptionUnit.NORMALIZED, AbsorptionUnit.ARBITRARY):
        return f"Absorption ({unit_label(unit)})"
    return f"Absorption cross section ({unit_label(unit)})"


def unit_label(unit: AbsorptionUnit) -> str:
    """Return a unit as print has it."""
    return {
        AbsorptionUnit.NORMALIZED: "edge step = 1",
        AbsorptionUnit.ANGSTROM2: "Å²",
        AbsorptionUnit.MILLIBOHR2: "10⁻³ a₀²",
        AbsorptionUnit.ARBITRARY: "arbitrary unit",
    }[unit]


def signed(value: float) -> str:
    """Return a number with its sign, as print has it: +0.35 or −1.20."""
    return f"{value:+.2f}".replace("-", "−")
