"""A benchmark's files: references that join it, and spectra from which it is made again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nearedge.cli.files import folder_written_whole, sentences
from nearedge.errors import SchemaError, SpectrumError
from nearedge.makers.compared import (
    Compared,
    Crystal,
    Entry,
    compared,
    computed_entry,
    reference_entry,
)
from nearedge.schemas import SpectrumDoc
from nearedge.schemas.benchmark import (
    MISSING,
    BenchmarkColumn,
    BenchmarkSpectrum,
    ReferenceSpectrum,
)
from nearedge.schemas.broadened import BroadeningRequest, broadened
from nearedge.schemas.spectrum_text import read_spectrum_text
from nearedge.schemas.xdi import NAMESPACE, from_xdi, to_xdi
from nearedge.spectra.comparison import compare
from nearedge.spectra.spectrum import Spectrum
from nearedge.spectra.thinning import thinned
from nearedge.structures.source import readable

_THEIRS = (".xdi", ".txt", ".dat", ".csv")
"""Endings of the spectra that a folder is searched for."""


@dataclass(frozen=True)
class GivenReference:
    """What a user typed as ``STRUCTURE:LABEL=FILE@BROADENING``, read; None where left out."""

    label: str
    structure: str | None
    path: Path
    spectrum: Spectrum
    broadening: BroadeningRequest | None = None

    def of(self, structure: str) -> ReferenceSpectrum:
        """Return it as a reference of `structure`."""
        how = "" if self.broadening is None else f", broadened by {self.broadening}"
        return ReferenceSpectrum(
            label=self.label,
            structure=structure,
            source=readable(self.path.name) + how,
            energy=self.spectrum.energy.tolist(),
            absorption=self.spectrum.absorption.tolist(),
        )


def given_reference(text: str, window: float) -> GivenReference:
    """Read what was given as ``LABEL=FILE`` or ``STRUCTURE:LABEL=FILE``, with ``@SPEC`` or without.

    Raises
    ------
    SpectrumError
        If it has another form, or the file holds no spectrum that a window fits into.
    """
    name, separator, file = text.partition("=")
    structure, colon, label = name.rpartition(":")
    label = label.strip()
    if not separator or not label or not file.strip() or (colon and not structure.strip()):
        raise SpectrumError(
            f"{text!r} is no reference: give LABEL=FILE, or STRUCTURE:LABEL=FILE for several "
            "structures."
        )
    path, request = Path(file).expanduser(), None
    if "@" in file and not path.exists():
        file, _, spec = file.rpartition("@")
        path, request = Path(file).expanduser(), BroadeningRequest.parse(spec)
    spectrum = _reference(path, _text(path), window)
    if request is not None:
        spectrum = request.apply(spectrum)
    return GivenReference(label, structure.strip() or None, path, spectrum, request)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpectrumError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise SpectrumError(f"{path} is no text: give two columns, or XDI.") from None


def _reference(path: Path, text: str, window: float) -> Spectrum:
    try:
        spectrum = read_spectrum_text(text)
        # With itself: refuses what no other spectrum could be compared with, before any run.
        compare(spectrum, spectrum, ("", ""), window=window)
    except SpectrumError as error:
        raise SpectrumError(f"{path} is no reference spectrum in eV: {_goes_on(error)}") from None
    return spectrum


def _goes_on(error: Exception) -> str:
    """Return a sentence as the second half of one: names keep their capitals."""
    return re.sub(r"^[A-Z](?=[a-z ])", lambda first: first[0].lower(), str(error))


def placed(given: Sequence[GivenReference], structures: Sequence[str]) -> list[ReferenceSpectrum]:
    """Return the references with their structures; of one structure the name may be left out.

    Raises
    ------
    SpectrumError
        If there are several structures and one is not named.
    """
    found = []
    for each in given:
        if each.structure is None and len(structures) != 1:
            raise SpectrumError(
                f"There are {len(structures)} structures: say of which {each.label} is, as "
                f"{structures[0] if structures else 'STRUCTURE'}:{each.label}={each.path}."
            )
        found.append(each.of(each.structure or structures[0]))
    return found


def save(result: Compared, folder: Path) -> int:
    """Write the computed spectra as ``<structure>/<column>.xdi``; return how many.

    They are thinned to what the comparison needs, and are as the codes gave them, without the
    broadening of the benchmark. References are left out: they are other people's.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    written = 0
    for crystal in result.crystals:
        texts = {
            _file_name(each.about.column): to_xdi(_thin(each.document, result.document.window))
            for each in crystal.entries
            if each.document is not None and each.about.compared
        }
        if not texts:
            continue
        target = folder / _file_name(crystal.label).removesuffix(".xdi")
        with sentences(target):
            folder.mkdir(parents=True, exist_ok=True)
        with folder_written_whole(target) as draft:
            for name, text in texts.items():
                (draft / name).write_text(text, encoding="utf-8")
                written += 1
    return written


def _thin(document: SpectrumDoc, window: float) -> SpectrumDoc:
    spectrum = thinned(document.to_spectrum(), window)
    note = "Thinned by nearedge benchmark to what a comparison needs."
    return document.model_copy(
        update={
            "energy": spectrum.energy.tolist(),
            "absorption": spectrum.absorption.tolist(),
            "warnings": [*(w for w in document.warnings if w != note), note],
        }
    )


def _file_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9.@=+-]+", "_", label) + ".xdi"


@dataclass(frozen=True)
class _Found:
    """A spectrum of the folder: NearEdge's with its document, or somebody's."""

    path: Path
    structure: str
    document: SpectrumDoc | None
    spectrum: Spectrum


def from_folder(
    folder: Path,
    references: Sequence[GivenReference],
    *,
    window: float,
    broadening: str | None = None,
) -> Compared:
    """Compare the spectra of a folder that `save` wrote; no database is asked.

    Spectra that others put beside them take part as references under the name of their file.

    Raises
    ------
    SpectrumError
        If the folder holds none, or they are of several absorbers or edges.
    """
    found = [
        _one(path, window)
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in _THEIRS and path.is_file()
    ]
    ours = [each.document for each in found if each.document is not None]
    if not ours:
        raise SpectrumError(
            f"{folder} holds no spectra as STRUCTURE/CODE.xdi, which `nearedge benchmark --save` "
            "writes."
        )
    edges = sorted({f"{document.absorber} {document.edge}" for document in ours})
    if len(edges) > 1:
        raise SpectrumError(
            f"{folder} holds spectra of {' and '.join(edges)}: a benchmark is of one edge."
        )
    structures = list(dict.fromkeys(each.structure for each in found))
    theirs = [*placed(references, structures)]
    theirs += [
        GivenReference(each.path.stem, None, each.path, each.spectrum).of(each.structure)
        for each in found
        if each.document is None
    ]
    columns = _columns(ours, theirs)
    request = None if broadening is None else BroadeningRequest.parse(broadening)
    crystals = [
        _crystal(label, [e for e in found if e.structure == label], theirs, columns, request)
        for label in structures
    ]
    return compared(
        crystals,
        columns,
        absorber=ours[0].absorber,
        edge=ours[0].edge,
        window=window,
        broadening=broadening,
    )


def _one(path: Path, window: float) -> _Found:
    structure, text = readable(path.parent.name), _text(path)
    try:
        if path.suffix.lower() == ".xdi":
            xdi = from_xdi(text)
            if any(key.startswith(f"{NAMESPACE.lower()}.") for key in xdi.metadata):
                document = xdi.to_document()
                return _Found(path, structure, document, document.to_spectrum())
    except (SchemaError, SpectrumError) as error:
        raise SpectrumError(f"{path} is no spectrum to compare: {_goes_on(error)}") from None
    return _Found(path, structure, None, _reference(path, text, window))


def _columns(
    ours: Sequence[SpectrumDoc], theirs: Sequence[ReferenceSpectrum]
) -> list[BenchmarkColumn]:
    different = list(dict.fromkeys((each.code, each.protocol) for each in ours))
    codes = [code for code, _ in different]
    columns = [
        BenchmarkColumn(
            label=code if codes.count(code) == 1 else f"{code} {protocol}",
            kind="code",
            code=code,
            protocol=protocol,
        )
        for code, protocol in different
    ]
    taken = {column.label for column in columns}
    for label in dict.fromkeys(each.label for each in theirs):
        if label in taken:
            raise SpectrumError(
                f"The reference {label!r} is called like a code: give it another label."
            )
        columns.append(BenchmarkColumn(label=label, kind="reference"))
    return columns


def _crystal(
    label: str,
    found: Sequence[_Found],
    theirs: Sequence[ReferenceSpectrum],
    columns: Sequence[BenchmarkColumn],
    request: BroadeningRequest | None,
) -> Crystal:
    documents = [each.document for each in found if each.document is not None]
    entries: list[Entry] = []
    for column in columns:
        entry = None
        for document in documents:
            if (document.code, document.protocol) == (column.code, column.protocol):
                changed = document if request is None else broadened(document, request)
                entry = computed_entry(column.label, document, changed.to_spectrum())
        for reference in theirs:
            if (reference.label, reference.structure) == (column.label, label):
                entry = reference_entry(reference)
        if entry is None:
            about = BenchmarkSpectrum(
                column=column.label, state=MISSING, message=f"There is no file of it for {label}."
            )
            entry = Entry(about)
        entries.append(entry)
    first = documents[0] if documents else None
    return Crystal(
        label,
        label if first is None else first.structure_key,
        label if first is None else first.structure_id,
        label if first is None else first.formula,
        entries,
    )
