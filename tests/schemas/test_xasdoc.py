from __future__ import annotations

import json
import warnings

import pytest
from emmet.core.mpid import AlphaID
from emmet.core.xas import XASDoc, validate_xas_spectrum_id

from nearedge.errors import SchemaError, SpectrumError
from nearedge.schemas import SpectrumDoc, StructureDoc
from nearedge.schemas.xasdoc import SIDECAR, from_xasdoc, to_xasdoc


@pytest.fixture(params=["site", "average"])
def spectrum(request: pytest.FixtureRequest) -> SpectrumDoc:
    document: SpectrumDoc = request.getfixturevalue(request.param)
    return document


def test_emmet_validates_the_document(spectrum: SpectrumDoc, structure: StructureDoc) -> None:
    document, record = to_xasdoc(spectrum, structure)
    for fields in (record, {key: value for key, value in record.items() if key != SIDECAR}):
        again = XASDoc.model_validate(json.loads(json.dumps(fields)))
        assert again.spectrum_id == document.spectrum_id == record["spectrum_id"]
        assert str(again.absorbing_element) == "Cu"
        assert (again.edge.value, again.spectrum_type.value) == ("K", "XANES")
        assert (again.formula_pretty, again.nsites) == ("Cu4O3", 28)
        assert again.spectrum is not None
        assert again.spectrum.x.tolist() == spectrum.energy
        assert again.spectrum.y.tolist() == spectrum.absorption
        assert again.spectrum.absorbing_index == spectrum.absorbing_index


def test_nothing_is_lost_on_the_way_and_back(
    spectrum: SpectrumDoc, structure: StructureDoc
) -> None:
    _, record = to_xasdoc(spectrum, structure)
    assert from_xasdoc(json.loads(json.dumps(record))) == spectrum


def test_the_id_reads_as_the_materials_projects_and_turns_back(
    site: SpectrumDoc, structure: StructureDoc
) -> None:
    document, _ = to_xasdoc(site, structure)
    start, *rest = document.spectrum_id.split("-")
    assert rest == ["XANES", "Cu", "K"]
    assert f"{int(AlphaID(start)):032x}" == site.spectrum_id
    assert validate_xas_spectrum_id(document.spectrum_id) == document.spectrum_id


@pytest.mark.parametrize("value", [0.0, -1e-4])
def test_absorption_that_emmet_would_clamp_is_said_and_kept(
    value: float, site: SpectrumDoc, structure: StructureDoc
) -> None:
    site.absorption = [value, *site.absorption[1:]]
    document, record = to_xasdoc(site, structure)
    assert document.warnings is not None
    assert "not positive" in document.warnings[-1]
    assert document.warnings[:-1] == site.warnings
    stored = json.loads(json.dumps(record))
    clamped = XASDoc.model_validate(json.loads(json.dumps(record))).spectrum
    assert clamped is not None
    assert clamped.y[0] == 1e-12
    assert from_xasdoc(stored) == site


def test_mostly_negative_absorption_raises_no_warning_on_the_terminal(
    site: SpectrumDoc, structure: StructureDoc
) -> None:
    site.absorption = [-value for value in site.absorption]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        to_xasdoc(site, structure)


@pytest.mark.parametrize(
    ("edge", "spelled"), [("K", "K"), ("L2", "L2"), ("L3", "L3"), ("L23", "L2,3")]
)
def test_edges_that_emmet_knows_pass(
    edge: str, spelled: str, site: SpectrumDoc, structure: StructureDoc
) -> None:
    site.edge = edge
    document, record = to_xasdoc(site, structure)
    assert document.spectrum_id.endswith(f"-XANES-Cu-{spelled}")
    assert from_xasdoc(record) == site


def test_an_edge_that_emmet_does_not_know_is_refused(
    site: SpectrumDoc, structure: StructureDoc
) -> None:
    site.edge = "L1"
    with pytest.raises(SpectrumError, match="emmet has no L1 edge, only K"):
        to_xasdoc(site, structure)


def test_an_id_that_emmet_cannot_spell_is_refused(
    site: SpectrumDoc, structure: StructureDoc
) -> None:
    site.spectrum_id = "my spectrum"
    with pytest.raises(SpectrumError, match="not hexadecimal"):
        to_xasdoc(site, structure)


def test_the_structure_of_another_spectrum_is_refused(
    site: SpectrumDoc, structure: StructureDoc
) -> None:
    other = structure.model_copy(update={"structure_key": "0" * 32})
    with pytest.raises(SpectrumError, match="belongs to structure"):
        to_xasdoc(site, other)


def test_a_document_without_the_sidecar_is_refused(
    site: SpectrumDoc, structure: StructureDoc
) -> None:
    _, record = to_xasdoc(site, structure)
    damaged = json.loads(json.dumps(record))
    damaged[SIDECAR]["spectrum"]["covered"] = 3
    with pytest.raises(SchemaError, match="covered"):
        from_xasdoc(damaged)
    del record[SIDECAR]
    with pytest.raises(SchemaError, match="nearedge"):
        from_xasdoc(record)
