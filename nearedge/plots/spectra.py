"""From spectrum documents to figures: sites under their average, overlays, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from nearedge.errors import SpectrumError
from nearedge.plots.figure import (
    Band,
    Curve,
    Figure,
    Role,
    absorption_label,
    pretty_formula,
    unique_labels,
)
from nearedge.schemas import SpectrumDoc, SpectrumKind
from nearedge.spectra.alignment import align
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray, Spectrum

INTERVAL = 1.959964
"""Standard deviations on either side of a 95 % interval of a normal distribution."""


def figures(
    documents: Sequence[SpectrumDoc],
    *,
    names: Mapping[str, str] | None = None,
    relative: bool = False,
    aligned: bool = False,
    residuals: bool = False,
) -> list[Figure]:
    """Return the figures that show `documents` best: one for each absorber and edge.

    Spectra of one crystal by one code become its sites under their average. Anything else becomes
    an overlay, of the averages alone where there are any.

    Parameters
    ----------
    documents
        Site and averaged spectra, in the order in which they shall be named.
    names
        What people call a structure, by `structure_key`; the formula where it has none.
    relative
        Count energies from each spectrum's own edge; not together with the next two.
    aligned
        Shift every spectrum of an overlay onto its first one and print the shift.
    residuals
        Draw the differences from an overlay's first spectrum below it.
    """
    if not documents:
        raise SpectrumError("There is no spectrum to plot.")
    ordered = sorted(documents, key=lambda doc: (doc.absorber, doc.edge))
    drawn = []
    for _, group in groupby(ordered, key=lambda doc: (doc.absorber, doc.edge)):
        members = list(group)
        if len({(doc.structure_key, doc.parameters_id) for doc in members}) == 1:
            figure = sites_figure(members, names=names)
        else:
            averages = [doc for doc in members if doc.kind is SpectrumKind.AVERAGE]
            figure = overlay_figure(averages or members, names=names, aligned=aligned)
            if residuals:
                figure = figure.with_residuals(figure.curves[0].label)
        drawn.append(figure.counted_from_edge() if relative else figure)
    return drawn


def sites_figure(
    documents: Sequence[SpectrumDoc], *, names: Mapping[str, str] | None = None
) -> Figure:
    """Return the sites of one crystal, thin, under their weighted average, thick."""
    first = documents[0]
    curves = []
    for doc in sorted(documents, key=lambda doc: (doc.kind, doc.absorbing_index or 0)):
        average = doc.kind is SpectrumKind.AVERAGE
        label = _average_label(doc) if average else _site_label(doc)
        role = Role.MAIN if average or len(documents) == 1 else Role.DETAIL
        curves.append(_curve(doc, label, role))
    return Figure(
        title=f"{_name(first, names)}, {first.absorber} {first.edge} edge",
        subtitle=f"{first.code.upper()}, protocol {first.protocol}",
        curves=tuple(_distinct(curves)),
        y_label=absorption_label(first.unit),
    )


def overlay_figure(
    documents: Sequence[SpectrumDoc],
    *,
    names: Mapping[str, str] | None = None,
    aligned: bool = False,
) -> Figure:
    """Return several structures or codes on one pair of axes.

    Absorption is converted to the unit of the first spectrum. Where that is not possible, as for
    codes on an arbitrary scale, every spectrum is scaled to a maximum of one and the axis says so.
    """
    first = documents[0]
    several_codes = len({(doc.code, doc.protocol) for doc in documents}) > 1
    several_names = len({doc.structure_key for doc in documents}) > 1
    several_kinds = any(doc.kind is SpectrumKind.SITE for doc in documents)
    spectra, y_label = _one_unit([doc.to_spectrum() for doc in documents])
    curves = []
    for doc, spectrum in zip(documents, spectra, strict=True):
        parts = []
        if several_names or not several_codes:
            parts.append(_name(doc, names))
        if several_codes:
            parts.append(f"{doc.code.upper()} {doc.protocol}")
        if several_kinds:
            average = doc.kind is SpectrumKind.AVERAGE
            parts.append("average" if average else f"site {doc.absorbing_index}")
        curve = _curve(doc, ", ".join(parts), Role.OVERLAY)
        curves.append(replace(curve, energy=spectrum.energy, absorption=spectrum.absorption))
    if aligned:
        curves = [curves[0], *(_align(curve, curves[0]) for curve in curves[1:])]
    codes = ", ".join(sorted({f"{doc.code.upper()} {doc.protocol}" for doc in documents}))
    subject = "" if several_names else f"{_name(first, names)}, "
    return Figure(
        title=f"{subject}{first.absorber} {first.edge} edge",
        subtitle=codes + ("; shifted onto the first" if aligned else ""),
        curves=tuple(_distinct(curves)),
        y_label=y_label,
    )


def prediction_figure(
    title: str,
    energy: FloatArray,
    absorption: FloatArray,
    std: FloatArray,
    unit: AbsorptionUnit,
    *,
    truth: Curve | None = None,
    others: Sequence[Curve] = (),
    subtitle: str = "",
    caption: str = "",
) -> Figure:
    """Return a predicted spectrum with its 95 % interval, and the computed one where there is one.

    Parameters
    ----------
    title, subtitle, caption
        Plain text.
    energy, absorption, std
        Energies in eV; absorption and its standard deviation in `unit`; shape ``(n,)`` each.
    unit
        The unit of `absorption` and of `truth`.
    truth
        The computed spectrum; the residual panel shows the prediction minus it.
    others
        Computed spectra of other structures, for the eye.
    """
    band = Band(absorption - INTERVAL * std, absorption + INTERVAL * std, "95 % interval")
    predicted = Curve("predicted", energy, absorption, Role.MAIN, band=band)
    figure = Figure(
        title=title,
        subtitle=subtitle,
        caption=caption,
        curves=(
            predicted,
            *(() if truth is None else (replace(truth, role=Role.REFERENCE),)),
            *(replace(other, role=Role.DETAIL) for other in others),
        ),
        y_label=absorption_label(unit),
    )
    return figure if truth is None else figure.with_residuals(truth.label)


def _curve(doc: SpectrumDoc, label: str, role: Role) -> Curve:
    edge = doc.energy_reference.edge_energy
    return Curve(label, np.array(doc.energy), np.array(doc.absorption), role, edge_energy=edge)


def _name(doc: SpectrumDoc, names: Mapping[str, str] | None) -> str:
    formula = pretty_formula(doc.formula)
    known = (names or {}).get(doc.structure_key)
    return formula if known is None or known == doc.formula else f"{known} ({formula})"


def _site_label(doc: SpectrumDoc) -> str:
    times = f" (×{doc.multiplicity})" if doc.multiplicity is not None else ""
    return f"site {doc.absorbing_index}{times}"


def _average_label(doc: SpectrumDoc) -> str:
    if doc.state == "completed":
        return "weighted average"
    return f"average of {doc.covered:.0%} of the absorbers"


def _distinct(curves: Sequence[Curve]) -> list[Curve]:
    labels = unique_labels([curve.label for curve in curves])
    return [replace(curve, label=label) for curve, label in zip(curves, labels, strict=True)]


def _one_unit(spectra: Sequence[Spectrum]) -> tuple[list[Spectrum], str]:
    unit = spectra[0].unit
    try:
        return [spectrum.to_unit(unit) for spectrum in spectra], absorption_label(unit)
    except SpectrumError:
        scaled = [
            replace(spectrum, absorption=spectrum.absorption / np.max(spectrum.absorption))
            for spectrum in spectra
        ]
        return scaled, "Absorption (scaled to a maximum of 1)"


def _align(curve: Curve, reference: Curve) -> Curve:
    shift = align(
        Spectrum(curve.energy, curve.absorption), Spectrum(reference.energy, reference.absorption)
    ).shift
    # The edge stays the curve's own: it was read before the shift, and moves with it.
    edge = None if curve.edge_energy is None else curve.edge_energy + shift
    return replace(curve, energy=curve.energy + shift, edge_energy=edge, shift=shift)
