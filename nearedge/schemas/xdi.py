"""XDI 1.0: one spectrum as a text file that other programs read.

The specification is "XAS Data Interchange Format Draft Specification, version 1.0" with its
"Dictionary of XAS Data Interchange Metadata". It knows experiments only, so what a simulation has
besides goes into two extension namespaces: ``Theory`` for people, ``NearEdge`` for the way back
without loss.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from nearedge import __version__
from nearedge.errors import SchemaError, SpectrumError
from nearedge.schemas.spectrum import SpectrumDoc
from nearedge.schemas.structure import StructureDoc
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray, Spectrum

NAMESPACE = "NearEdge"

_ARRAYS = {"energy", "absorption"}
_PLACED = {"absorber", "edge"}  # in Element.symbol and Element.edge
_NUMBERED = {"contributions", "broadening", "warnings", "calculation_ids", "projects"}
"""Lists, one entry a line: readers cut long lines."""

_RENAMED = {"elements": "species"}
"""Fields under another name: libxdifile takes any `elements` for Element.symbol."""

_LINE = re.compile(r"\s*([A-Za-z_]\w*)\s*\.\s*(\w+)\s*:\s*(.*?)\s*", re.ASCII)
_VERSION = re.compile(r"#\s*XDI/(\S+)\s*(.*?)\s*", re.IGNORECASE)
_END_OF_FIELDS = re.compile(r"\s*/{3,}.*")
_END_OF_HEADER = re.compile(r"\s*-{3,}.*")


@dataclass(frozen=True, eq=False)
class XdiFile:
    """An XDI file, whoever wrote it.

    Parameters
    ----------
    version
        Of XDI, such as ``1.0``.
    application
        What wrote it, as the file says.
    metadata
        Lower-case ``namespace.keyword`` to value.
    comments
        The user's comments, one line each.
    columns
        Lower-case names of the columns.
    units
        Their units, empty where none is given.
    data
        Shape ``(n_points, n_columns)``.
    """

    version: str
    application: str
    metadata: dict[str, str]
    comments: list[str]
    columns: list[str]
    units: list[str]
    data: FloatArray

    def to_spectrum(self) -> Spectrum:
        """Return the absorption, sorted by energy; from detectors' counts if need be.

        Raises
        ------
        SpectrumError
            If there is no energy column in eV or keV, or nothing to make absorption of.
        """
        energy, absorption, unit = self._energy(), *self._absorption()
        order = np.argsort(energy, kind="stable")
        return Spectrum(energy[order], absorption[order], unit, self._normalization())

    def to_document(self) -> SpectrumDoc:
        """Return the document that `to_xdi` wrote.

        Raises
        ------
        SchemaError
            If the file is not one of NearEdge's, or its fields were changed into something else.
        """
        try:
            return SpectrumDoc.model_validate(self._document_fields())
        except json.JSONDecodeError as error:
            raise SchemaError(f"A {NAMESPACE} field of the XDI file is damaged: {error}.") from None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise SchemaError(
                f"The XDI file does not hold a whole NearEdge spectrum: {first['loc'][0]}, "
                f"{first['msg'].lower()}. Read it as a plain spectrum instead."
            ) from None

    def _document_fields(self) -> dict[str, object]:
        prefix = NAMESPACE.lower() + "."
        fields: dict[str, object] = {}
        for name in SpectrumDoc.model_fields:
            if name in _NUMBERED:
                fields[name] = self._numbered(prefix + name)
            elif (key := prefix + _RENAMED.get(name, name)) in self.metadata:
                fields[name] = json.loads(self.metadata[key])
        return fields | {
            "absorber": self.metadata.get("element.symbol"),
            "edge": self.metadata.get("element.edge"),
            "energy": self.data[:, 0].tolist(),
            "absorption": self.data[:, 1].tolist(),
        }

    def _numbered(self, key: str) -> list[object]:
        entries: list[object] = []
        while f"{key}_{len(entries) + 1}" in self.metadata:
            entries.append(json.loads(self.metadata[f"{key}_{len(entries) + 1}"]))
        return entries

    def _column(self, name: str) -> FloatArray | None:
        if name not in self.columns:
            return None
        column: FloatArray = self.data[:, self.columns.index(name)]
        return column

    def _energy(self) -> FloatArray:
        energy = self._column("energy")
        if energy is None:
            raise SpectrumError(
                f"The XDI file has no energy column, only {', '.join(self.columns)}: convert "
                "angles to energies first."
            )
        unit = self.units[self.columns.index("energy")].lower() or "ev"
        if unit not in ("ev", "kev"):
            raise SpectrumError(f"Energies of the XDI file are in {unit!r}: convert them to eV.")
        return energy * (1000.0 if unit == "kev" else 1.0)

    def _absorption(self) -> tuple[FloatArray, AbsorptionUnit]:
        stated = self.metadata.get(f"{NAMESPACE.lower()}.unit")
        for name in self.columns:
            column = self._column(name)
            if column is None or not re.fullmatch(r"(x?mu|norm|munorm)(trans|fluor)?", name):
                continue
            if stated is not None:
                return column, AbsorptionUnit(json.loads(stated))
            normalized = name.startswith("norm") or name == "munorm"
            return column, AbsorptionUnit.NORMALIZED if normalized else AbsorptionUnit.ARBITRARY
        i0, transmitted, fluorescence = map(self._column, ("i0", "itrans", "ifluor"))
        if i0 is not None and transmitted is not None:
            return np.log(i0 / transmitted), AbsorptionUnit.ARBITRARY
        if i0 is not None and fluorescence is not None:
            return fluorescence / i0, AbsorptionUnit.ARBITRARY
        raise SpectrumError(
            f"The XDI file has no absorption among its columns: {', '.join(self.columns)}."
        )

    def _normalization(self) -> float | None:
        text = self.metadata.get(f"{NAMESPACE.lower()}.normalization")
        return None if text is None else float(text)


def to_xdi(spectrum: SpectrumDoc, structure: StructureDoc | None = None) -> str:
    """Return `spectrum` as the text of an XDI file.

    Parameters
    ----------
    spectrum
        Any; every field is kept, so that `XdiFile.to_document` gives it back.
    structure
        The structure it belongs to, described in the comments; None to leave that out.

    Raises
    ------
    SpectrumError
        If `structure` is another one than the spectrum's.
    """
    if structure is not None and structure.structure_key != spectrum.structure_key:
        raise SpectrumError(
            f"Spectrum {spectrum.spectrum_id} belongs to structure {spectrum.structure_key}, not "
            f"to {structure.structure_key}."
        )
    spectrum.to_spectrum()  # refuses what is no spectrum before it is spread
    column = "norm" if spectrum.unit is AbsorptionUnit.NORMALIZED else "xmu"
    unit = "" if spectrum.unit is AbsorptionUnit.NORMALIZED else f" {spectrum.unit}"
    header = [
        f"# XDI/1.0 NearEdge/{__version__}",
        "# Column.1: energy eV",
        f"# Column.2: {column}{unit}",
        f"# Element.symbol: {spectrum.absorber}",
        f"# Element.edge: {spectrum.edge}",
        f"# Sample.name: {spectrum.formula}",
        *(f"# Theory.{key}: {value}" for key, value in _theory(spectrum)),
        *(f"# {NAMESPACE}.{key}: {value}" for key, value in _fields(spectrum)),
        "# ///",
        *(f"# {line}" for line in _comments(spectrum, structure)),
        "# ---",
        f"# energy {column}",
    ]
    rows = [f"{e!r} {a!r}" for e, a in zip(spectrum.energy, spectrum.absorption, strict=True)]
    return "\n".join([*header, *rows]) + "\n"


def from_xdi(text: str) -> XdiFile:
    """Read the text of an XDI file.

    Raises
    ------
    SpectrumError
        If it is not XDI, or its data are not numbers in columns.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    first = _VERSION.fullmatch(lines[0]) if lines else None
    if first is None:
        raise SpectrumError("The file does not begin with `# XDI/`, so it is not an XDI file.")
    header: list[str] = []
    body: list[str] = []
    for line in lines[1:]:
        stripped = line.strip()
        if stripped.startswith("#"):
            header.append(stripped[1:])
        elif stripped:
            body.append(stripped)
    metadata, comments = _split(header)
    data = _numbers(body)
    numbers = range(1, data.shape[1] + 1)
    described = [metadata.get(f"column.{n}", f"column_{n}").split(None, 1) for n in numbers]
    return XdiFile(
        version=first[1],
        application=first[2],
        metadata=metadata,
        comments=comments,
        columns=[words[0].lower() for words in described],
        units=[words[1].split("||")[0].strip() if words[1:] else "" for words in described],
        data=data,
    )


def _split(header: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the fields and the user's comments; what is neither, a label line, is dropped."""
    metadata: dict[str, str] = {}
    comments: list[str] = []
    in_comments = False
    for line in header:
        if _END_OF_HEADER.fullmatch(line):
            break
        if _END_OF_FIELDS.fullmatch(line):
            in_comments = True
        elif in_comments:
            comments.append(line.removeprefix(" "))
        elif match := _LINE.fullmatch(line):
            metadata[f"{match[1]}.{match[2]}".lower()] = match[3]
    return metadata, comments


def _numbers(body: list[str]) -> FloatArray:
    try:
        data = np.array([[float(word) for word in line.split()] for line in body])
    except ValueError as error:
        raise SpectrumError(f"The XDI file's data are not columns of numbers: {error}.") from None
    if data.ndim != 2 or data.shape[1] < 2:
        raise SpectrumError("The XDI file's data are not at least two columns of numbers.")
    return data


def _theory(spectrum: SpectrumDoc) -> list[tuple[str, str]]:
    reference = spectrum.energy_reference
    fields = [
        ("code", spectrum.code),
        ("code_version", spectrum.code_version),
        ("protocol", spectrum.protocol),
        ("level", str(spectrum.kind)),
        ("energy_reference", reference.kind),
    ]
    if spectrum.absorbing_index is not None:
        fields.append(("absorbing_site", f"{spectrum.absorbing_index} (counted from zero)"))
    if reference.edge_energy is not None:
        fields.append(("edge_energy", f"{reference.edge_energy} eV"))
    if reference.fermi_energy is not None:
        fields.append(("fermi_energy", f"{reference.fermi_energy} eV"))
    if spectrum.normalization is not None:
        fields.append(("normalization", f"{spectrum.normalization} angstrom^2"))
    for number, broadening in enumerate(spectrum.broadening, start=1):
        text = f"{broadening.kind} {broadening.width} eV ({broadening.origin})"
        fields.append((f"broadening_{number}", text))
    return [(key, _one_line(value)) for key, value in fields]


def _fields(spectrum: SpectrumDoc) -> list[tuple[str, str]]:
    document = spectrum.model_dump(mode="json", exclude=_ARRAYS | _PLACED, exclude_none=True)
    fields: list[tuple[str, str]] = []
    for name, value in document.items():
        if name in _NUMBERED:
            fields += [(f"{name}_{n}", json.dumps(v)) for n, v in enumerate(value, start=1)]
        else:
            fields.append((_RENAMED.get(name, name), json.dumps(value)))
    return fields


def _comments(spectrum: SpectrumDoc, structure: StructureDoc | None) -> list[str]:
    comments = [f"Simulated spectrum of {spectrum.formula}, made by {spectrum.code}."]
    if structure is not None:
        comments.append(f"Structure: {structure.source.label}, {structure.nsites} atoms.")
        if structure.source.citation is not None:
            comments.append(f"After {structure.source.citation}")
    comments += [f"Warning: {warning}" for warning in spectrum.warnings]
    return [_one_line(comment) for comment in comments]


def _one_line(text: str) -> str:
    return " ".join(text.split())
