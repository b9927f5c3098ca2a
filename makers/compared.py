"""From the spectra of a benchmark to its document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nearedge.schemas import COMPLETED, SpectrumDoc
from nearedge.schemas.benchmark import (
    BenchmarkColumn,
    BenchmarkDoc,
    BenchmarkMean,
    BenchmarkPair,
    BenchmarkSpectrum,
    BenchmarkStructure,
    ReferenceSpectrum,
    benchmark_id,
    spectrum_hash,
)
from nearedge.spectra.comparison import METHOD, Pair, Unpaired, compare_all
from nearedge.spectra.spectrum import Spectrum


@dataclass(frozen=True)
class Entry:
    """A structure in one column; without a spectrum where `about` says why.

    `document` is the computed spectrum as it was stored, before any broadening.
    """

    about: BenchmarkSpectrum
    spectrum: Spectrum | None = None
    document: SpectrumDoc | None = None


@dataclass(frozen=True)
class Crystal:
    """A structure with an entry in each column, in the order of the columns."""

    label: str
    structure_key: str
    structure_id: str
    formula: str
    entries: Sequence[Entry]

    @property
    def spectra(self) -> dict[str, Spectrum]:
        """What is compared, by column."""
        return {
            each.about.column: each.spectrum
            for each in self.entries
            if each.spectrum is not None and each.about.compared
        }


@dataclass(frozen=True)
class Compared:
    """A benchmark's document with the spectra that it is about."""

    document: BenchmarkDoc
    crystals: Sequence[Crystal]


def computed_entry(column: str, document: SpectrumDoc, spectrum: Spectrum | None = None) -> Entry:
    """Return the entry of a computed spectrum; `spectrum` is what of it is compared."""
    spectrum = document.to_spectrum() if spectrum is None else spectrum
    about = BenchmarkSpectrum(
        column=column,
        state=document.state,
        spectrum_id=document.spectrum_id,
        content=spectrum_hash(spectrum),
    )
    if not about.compared:
        failed = [each.state for each in document.contributions if each.state != COMPLETED]
        about.message = (
            f"The average covers {document.covered:.0%} of the absorbers; the others are: "
            f"{', '.join(sorted(set(failed))) or 'missing'}."
        )
    return Entry(about, spectrum, document)


def reference_entry(reference: ReferenceSpectrum) -> Entry:
    """Return the entry of a spectrum from elsewhere."""
    spectrum = reference.to_spectrum()
    about = BenchmarkSpectrum(
        column=reference.label,
        state=COMPLETED,
        source=reference.source,
        content=spectrum_hash(spectrum),
    )
    return Entry(about, spectrum)


def compared(
    crystals: Sequence[Crystal],
    columns: Sequence[BenchmarkColumn],
    *,
    absorber: str,
    edge: str,
    window: float,
    broadening: str | None = None,
    project: str | None = None,
) -> Compared:
    """Compare every two columns on every structure.

    Parameters
    ----------
    crystals
        Structures of different labels.
    columns
        Codes and references.
    absorber, edge
        What all spectra are of.
    window
        eV from the onset of each spectrum.
    broadening
        What computed spectra were broadened by, for the record.
    project
        Name that the document is filed under.
    """
    structures = [_structure(crystal, window) for crystal in crystals]
    spectra = {crystal.structure_key: [e.about for e in crystal.entries] for crystal in crystals}
    identifier = benchmark_id(absorber, edge, window, METHOD, broadening, list(columns), spectra)
    document = BenchmarkDoc(
        benchmark_id=identifier,
        absorber=absorber,
        edge=edge,
        window=window,
        method=METHOD,
        broadening=broadening,
        columns=list(columns),
        structures=structures,
        means=_means(structures, [column.label for column in columns]),
        projects=[] if project is None else [project],
    )
    return Compared(document, crystals)


def _structure(crystal: Crystal, window: float) -> BenchmarkStructure:
    return BenchmarkStructure(
        label=crystal.label,
        structure_key=crystal.structure_key,
        structure_id=crystal.structure_id,
        formula=crystal.formula,
        spectra=[each.about for each in crystal.entries],
        pairs=[_pair(each) for each in compare_all(crystal.spectra, window=window)],
    )


def _pair(found: Pair | Unpaired) -> BenchmarkPair:
    if isinstance(found, Unpaired):
        return BenchmarkPair(first=found.first, second=found.second, warning=found.reason)
    return BenchmarkPair(
        first=found.first,
        second=found.second,
        shift=found.shift,
        spearman=found.spearman,
        pearson=found.pearson,
        cosine=found.cosine,
        low=found.low,
        high=found.high,
        edge_difference=found.edge_difference,
        warning=found.warning,
    )


def _means(structures: Sequence[BenchmarkStructure], labels: Sequence[str]) -> list[BenchmarkMean]:
    """Return the mean of each pair of columns over the structures that have it."""
    means = []
    for number, first in enumerate(labels):
        for second in labels[number + 1 :]:
            rows = [
                [pair.spearman, pair.pearson, pair.cosine, pair.shift]
                for structure in structures
                for pair in structure.pairs
                if (pair.first, pair.second) == (first, second) and pair.shift is not None
            ]
            if not rows:
                continue
            table = np.array(rows, dtype=np.float64)
            spearman, pearson, cosine, shift = (float(mean) for mean in table.mean(axis=0))
            means.append(
                BenchmarkMean(
                    first=first,
                    second=second,
                    structures=len(rows),
                    spearman=spearman,
                    pearson=pearson,
                    cosine=cosine,
                    shift=shift,
                    shift_range=float(np.ptp(table[:, 3])),
                )
            )
    return means
