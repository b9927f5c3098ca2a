"""Spectra as files that others read; each file is written whole or not at all."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from nearedge.cli.files import folder_written_whole, written_whole
from nearedge.errors import OutputError
from nearedge.schemas import SpectrumDoc, SpectrumKind, StructureDoc
from nearedge.schemas.xasdoc import to_xasdoc
from nearedge.schemas.xdi import to_xdi
from nearedge.store.spectra_store import SpectraStore

Format = Literal["xdi", "csv", "json", "xasdoc"]
Step = Callable[[int], None]

_CSV = (
    "spectrum_id", "kind", "formula", "structure_id", "absorber", "edge", "absorbing_index", "code",
    "protocol", "unit", "energy_eV", "absorption",
)  # fmt: skip


def write_spectra(
    store: SpectraStore,
    spectra: Iterable[SpectrumDoc],
    file_format: Format,
    output: Path,
    step: Step,
) -> int:
    """Write `spectra` to `output`, one at a time in memory; return how many.

    Raises
    ------
    OutputError
        If `output` cannot be written; what was there before is then untouched.
    """
    if file_format == "xdi":
        return _xdi(_Structures(store), spectra, output, step)
    with written_whole(output) as draft:
        if file_format == "csv":
            return _csv(spectra, draft, step)
        structures = _Structures(store)
        texts = (_json_text(spectrum, structures, file_format) for spectrum in spectra)
        return _array(texts, draft, step)


class _Structures:
    """The structures of spectra, the last one kept: spectra of one crystal come together."""

    def __init__(self, store: SpectraStore) -> None:
        self._store = store
        self._last: tuple[str, StructureDoc | None] | None = None

    def of(self, spectrum: SpectrumDoc) -> StructureDoc | None:
        key = spectrum.structure_key
        if self._last is None or self._last[0] != key:
            self._last = (key, self._store.structure(key))
        return self._last[1]


def _xdi(structures: _Structures, spectra: Iterable[SpectrumDoc], output: Path, step: Step) -> int:
    count = 0
    with folder_written_whole(output) as draft:
        for spectrum in spectra:
            count += 1
            text = to_xdi(spectrum, structures.of(spectrum))
            (draft / file_name(spectrum)).write_text(text, encoding="utf-8")
            step(1)
    return count


def file_name(spectrum: SpectrumDoc) -> str:
    """Return a name that tells what the file holds and occurs once."""
    average = spectrum.kind is SpectrumKind.AVERAGE
    site = "average" if average else f"site{spectrum.absorbing_index:03d}"
    parts = (
        spectrum.formula,
        spectrum.absorber,
        spectrum.edge,
        spectrum.code,
        spectrum.protocol,
        site,
        spectrum.spectrum_id[:12],
    )
    return "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", part) for part in parts) + ".xdi"


def _csv(spectra: Iterable[SpectrumDoc], draft: Path, step: Step) -> int:
    count = 0
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_CSV)
        for spectrum in spectra:
            count += 1
            index = "" if spectrum.absorbing_index is None else spectrum.absorbing_index
            about = [
                spectrum.spectrum_id, spectrum.kind.value, spectrum.formula, spectrum.structure_id,
                spectrum.absorber, spectrum.edge, index, spectrum.code, spectrum.protocol,
                spectrum.unit.value,
            ]  # fmt: skip
            for energy, absorption in zip(spectrum.energy, spectrum.absorption, strict=True):
                writer.writerow([*about, repr(energy), repr(absorption)])
            step(1)
    return count


def _json_text(spectrum: SpectrumDoc, structures: _Structures, file_format: Format) -> str:
    if file_format == "json":
        return spectrum.model_dump_json()
    structure = structures.of(spectrum)
    if structure is None:
        raise OutputError(
            f"Spectrum {spectrum.spectrum_id} has lost its structure, which an XASDoc "
            "holds: choose --format json."
        )
    _, record = to_xasdoc(spectrum, structure)
    return json.dumps(record, allow_nan=False)


def _array(texts: Iterable[str], draft: Path, step: Step) -> int:
    count = 0
    with draft.open("w", encoding="utf-8") as file:
        file.write("[")
        for count, text in enumerate(texts, start=1):
            file.write(("\n" if count == 1 else ",\n") + text)
            step(1)
        file.write("\n]\n")
    return count
