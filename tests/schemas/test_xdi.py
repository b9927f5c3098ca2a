from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from nearedge.errors import SchemaError, SpectrumError
from nearedge.schemas import SpectrumDoc, StructureDoc
from nearedge.schemas.xdi import from_xdi, to_xdi
from nearedge.spectra.spectrum import AbsorptionUnit

FOREIGN = """\
# XDI/1.0 GSE/1.0
# Column.1: energy keV || 13IDA:E
# Column.2: i0
# Column.3: itrans
# Element.edge: K
# Element.symbol: Cu
# Mono.name: Si 111
# Mono.d_spacing:   3.13553
# Facility.name: APS
# beamline.NAME : 13-ID
#////////
# Cu foil, room temperature
#   10 eV steps: quick
#----
# energy i0 itrans
 8.990  1000.0   500.0
 8.980\t1000.0\t800.0
 9.000  1000.0   367.879441171
"""


@pytest.fixture(params=["site", "average"])
def spectrum(request: pytest.FixtureRequest) -> SpectrumDoc:
    document: SpectrumDoc = request.getfixturevalue(request.param)
    return document


def test_nothing_is_lost_on_the_way_and_back(
    spectrum: SpectrumDoc, structure: StructureDoc
) -> None:
    assert from_xdi(to_xdi(spectrum, structure)).to_document() == spectrum
    assert from_xdi(to_xdi(spectrum)).to_document() == spectrum


def test_the_arrays_come_back_digit_for_digit(spectrum: SpectrumDoc) -> None:
    again = from_xdi(to_xdi(spectrum)).to_spectrum()
    assert again.energy.tolist() == spectrum.energy
    assert again.absorption.tolist() == spectrum.absorption
    assert (again.unit, again.normalization) == (spectrum.unit, spectrum.normalization)


def test_the_rules_of_xdi_are_kept(spectrum: SpectrumDoc, structure: StructureDoc) -> None:
    """Version, required fields, families and keywords, the order of the parts, the columns."""
    lines = to_xdi(spectrum, structure).splitlines()
    assert re.fullmatch(r"# XDI/1\.0 NearEdge/\d\S*", lines[0])
    fields_end, header_end = lines.index("# ///"), lines.index("# ---")
    assert 0 < fields_end < header_end
    keys = []
    for line in lines[1:fields_end]:
        match = re.fullmatch(r"# ([A-Za-z_][A-Za-z0-9_]+)\.([A-Za-z0-9_]+): (\S.*)", line)
        assert match, line
        keys.append(f"{match[1]}.{match[2]}".lower())
    assert len(keys) == len(set(keys))
    assert {"element.symbol", "element.edge", "column.1", "column.2"} <= set(keys)
    assert "# Column.1: energy eV" in lines
    column = "norm" if spectrum.unit is AbsorptionUnit.NORMALIZED else "xmu"
    assert any(re.fullmatch(f"# Column.2: {column}( .*)?", line) for line in lines)
    assert lines[header_end + 1] == f"# energy {column}"
    assert not any(line.strip("# ") == "" for line in lines)
    assert all(line.startswith("# ") for line in lines[: header_end + 2])
    data = [line.split() for line in lines[header_end + 2 :]]
    assert len(data) == len(spectrum.energy)
    assert {len(row) for row in data} == {2}
    assert max(map(len, lines)) < 1024  # readers in C cut longer ones


def test_no_field_is_called_like_those_that_other_readers_look_for(site: SpectrumDoc) -> None:
    """libxdifile took NearEdge.elements for the absorbing element."""
    keys = [
        line.split(":")[0] for line in to_xdi(site).splitlines() if line.startswith("# NearEdge")
    ]
    assert not [key for key in keys if key.lower().endswith((".element", ".elements", ".edge"))]


def test_theory_is_told_to_people(site: SpectrumDoc, structure: StructureDoc) -> None:
    text = to_xdi(site, structure)
    for line in (
        "# Theory.code: feff",
        "# Theory.protocol: fast@1",
        "# Theory.edge_energy: 8988.123456789 eV",
        "# Theory.broadening_1: lorentzian 1.729 eV (core-hole lifetime, FEFF Gam_ch)",
        "# Theory.absorbing_site: 8 (counted from zero)",
        "# Sample.name: Cu4O3",
    ):
        assert line in text.splitlines()
    assert "O'Keeffe" in text


@pytest.mark.slow  # and heavy: 400 MB of packages that nothing else here needs
def test_a_reader_not_of_ours_accepts_it(
    spectrum: SpectrumDoc, structure: StructureDoc, tmp_path: Path
) -> None:
    larch = pytest.importorskip(
        "larch.io", reason="xraylarch is not installed: `pip install xraylarch` to read XDI with it"
    )
    path = tmp_path / "spectrum.xdi"
    path.write_text(to_xdi(spectrum, structure), encoding="utf-8")
    read = larch.read_xdi(str(path))
    assert (read.element, read.edge) == ("Cu", "K")
    column = "norm" if spectrum.unit is AbsorptionUnit.NORMALIZED else "xmu"
    assert list(read.array_labels) == ["energy", column]
    assert read.energy == pytest.approx(spectrum.energy)
    assert getattr(read, column) == pytest.approx(spectrum.absorption)
    assert read.attrs["theory"]["code"] == "feff"


def test_others_files_are_read() -> None:
    file = from_xdi(FOREIGN)
    assert (file.version, file.application) == ("1.0", "GSE/1.0")
    assert file.columns == ["energy", "i0", "itrans"]
    assert file.units == ["keV", "", ""]
    assert file.metadata["mono.d_spacing"] == "3.13553"
    assert file.metadata["beamline.name"] == "13-ID"
    assert file.comments == ["Cu foil, room temperature", "  10 eV steps: quick"]
    spectrum = file.to_spectrum()
    assert spectrum.energy == pytest.approx([8980, 8990, 9000])
    assert spectrum.absorption == pytest.approx([np.log(1.25), np.log(2), 1.0])
    assert spectrum.unit is AbsorptionUnit.ARBITRARY


@pytest.mark.parametrize(
    ("columns", "absorption"),
    [
        ("energy eV|mutrans|i0", [2, 4]),
        ("energy|i0|ifluor", [1.5, 5 / 4]),
        ("energy eV|i0|xmu", [3, 5]),
        ("energy eV|normfluor|i0", [2, 4]),
    ],
)
def test_absorption_is_found_or_made(columns: str, absorption: list[float]) -> None:
    named = "".join(f"# Column.{n}: {c}\n" for n, c in enumerate(columns.split("|"), start=1))
    text = f"# XDI/1.0\n{named}# ---\n100 2 3\n101 4 5\n"
    assert from_xdi(text).to_spectrum().absorption == pytest.approx(absorption)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not an XDI file"),
        ("energy mu\n1 2\n", "not an XDI file"),
        ("# XDI/1.0\n# ---\n1 2\n3 x\n", "not columns of numbers"),
        ("# XDI/1.0\n# ---\n1 2\n3\n", "not columns of numbers"),
        ("# XDI/1.0\n# ---\n1\n3\n", "two columns"),
        ("# XDI/1.0\n# ---\n", "two columns"),
    ],
)
def test_what_is_not_xdi_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpectrumError, match=message):
        from_xdi(text)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("angle degrees", "mutrans"), "no energy column"),
        (("energy wavenumber", "mutrans"), "convert them to eV"),
        (("energy eV", "temperature"), "no absorption"),
    ],
)
def test_columns_that_make_no_spectrum_are_refused(columns: tuple[str, str], message: str) -> None:
    text = f"# XDI/1.0\n# Column.1: {columns[0]}\n# Column.2: {columns[1]}\n# ---\n1 2\n3 4\n"
    with pytest.raises(SpectrumError, match=message):
        from_xdi(text).to_spectrum()


def test_others_files_and_changed_ones_are_no_documents(site: SpectrumDoc) -> None:
    with pytest.raises(SchemaError, match="plain spectrum"):
        from_xdi(FOREIGN).to_document()
    text = to_xdi(site)
    with pytest.raises(SchemaError, match="covered"):
        from_xdi(text.replace("covered: 1.0", "covered: 7")).to_document()
    with pytest.raises(SchemaError, match="damaged"):
        from_xdi(text.replace("covered: 1.0", "covered: {")).to_document()


def test_the_structure_of_another_spectrum_is_refused(
    site: SpectrumDoc, structure: StructureDoc
) -> None:
    other = structure.model_copy(update={"structure_key": "0" * 32})
    with pytest.raises(SpectrumError, match="belongs to structure"):
        to_xdi(site, other)
