"""A spectrum carries what it contains, and nothing is broadened twice by mistake."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.errors import SpectrumError, StructureError
from nearedge.schemas import SpectrumDoc, SpectrumKind
from nearedge.schemas.broadened import BroadeningRequest, broadened
from nearedge.schemas.spectrum import Broadening, EnergyReference
from nearedge.spectra import broadening as shapes
from nearedge.spectra.spectrum import AbsorptionUnit


def document(*contained: Broadening, edge: float | None = 4968.0) -> SpectrumDoc:
    energy = 4960 + np.arange(0, 60, 0.2)
    absorption = 0.5 + np.arctan((energy - 4970) / 0.1) / np.pi
    absorption += np.exp(-(((energy - 4980) / 0.5) ** 2))
    return SpectrumDoc(
        spectrum_id="a" * 32,
        kind=SpectrumKind.SITE,
        structure_key="k",
        structure_id="s",
        formula="TiO2",
        elements=["O", "Ti"],
        absorber="Ti",
        edge="K",
        code="elk",
        code_version="8",
        protocol="fast@1",
        parameters_id="p",
        calculation_ids=["c"],
        energy=energy.tolist(),
        absorption=absorption.tolist(),
        unit=AbsorptionUnit.ARBITRARY,
        energy_reference=EnergyReference(kind="absolute", edge_energy=edge),
        broadening=list(contained),
    )


def request(text: str) -> BroadeningRequest:
    return BroadeningRequest.parse(text)


HALF = Broadening(kind="lorentzian", width=0.5, origin="the code's")
BLURRED = Broadening(kind="gaussian", width=0.3, origin="the code's")
NONE = Broadening(kind="none", width=0.0, origin="nothing")


@pytest.mark.parametrize(
    ("text", "widths"),
    [
        ("core-hole", [("lorentzian", 0.94)]),
        ("lorentzian:0.7", [("lorentzian", 0.7)]),
        ("gaussian:0.5", [("gaussian", 0.5)]),
        ("voigt:0.9,0.4", [("lorentzian", 0.9), ("gaussian", 0.4)]),
        ("arctangent:15,30,30", [("arctangent", 0.94)]),
    ],
)
def test_what_was_added_is_carried_and_the_arrays_are_those_of_the_line_shape(
    text: str, widths: list[tuple[str, float]]
) -> None:
    before = document(NONE)
    after = broadened(before, request(text))
    assert [(each.kind, each.width) for each in after.broadening[1:]] == widths
    assert after.spectrum_id != before.spectrum_id
    assert broadened(before, request(text)).spectrum_id == after.spectrum_id
    spectrum = before.to_spectrum()
    expected = {
        "core-hole": lambda: shapes.lorentzian(spectrum, 0.94),
        "lorentzian": lambda: shapes.lorentzian(spectrum, 0.7),
        "gaussian": lambda: shapes.gaussian(spectrum, 0.5),
        "voigt": lambda: shapes.voigt(spectrum, 0.9, 0.4),
        "arctangent": lambda: shapes.arctangent(
            spectrum, shapes.Arctangent(0.94, 15, 30, 30), 4968.0
        ),
    }[request(text).kind]()
    assert after.absorption == expected.absorption.tolist()
    assert SpectrumDoc.model_validate_json(after.model_dump_json()) == after


@pytest.mark.parametrize("text", ["core-hole", "lorentzian:2", "voigt:2,1", "arctangent:15,30,30"])
def test_a_second_lifetime_is_refused(text: str) -> None:
    with pytest.raises(SpectrumError, match=r"contains a lorentzian of 0.5 eV \(the code's\)"):
        broadened(document(HALF), request(text))
    once = broadened(document(), request(text))
    with pytest.raises(SpectrumError, match="twice"):
        broadened(once, request(text))


@pytest.mark.parametrize("text", ["gaussian:1", "voigt:1,1"])
def test_a_second_gaussian_is_refused_and_a_lorentzian_is_no_gaussian(text: str) -> None:
    with pytest.raises(SpectrumError, match="twice"):
        broadened(document(BLURRED), request(text))
    assert len(broadened(document(HALF), request("gaussian:1")).broadening) == 2


def test_up_to_a_total_only_the_difference_is_added() -> None:
    after = broadened(document(HALF), request("lorentzian:0.8+total"))
    assert after.broadening[1].width == pytest.approx(0.3)
    after = broadened(document(HALF), request("core-hole+total"))
    assert after.broadening[1].width == pytest.approx(0.44)
    after = broadened(document(BLURRED), request("gaussian:0.5+total"))
    assert after.broadening[1].width == pytest.approx(0.4), "in quadrature"
    after = broadened(document(HALF, BLURRED), request("voigt:0.5,0.5+total"))
    assert [each.kind for each in after.broadening[2:]] == ["gaussian"]
    after = broadened(document(HALF), request("arctangent:15,30,30+total"))
    assert (after.broadening[1].width, after.broadening[1].maximum) == (pytest.approx(0.44), 15)


def test_two_steps_to_a_total_are_one_step() -> None:
    at_once = broadened(document(), request("lorentzian:1.5"))
    first = broadened(document(), request("lorentzian:0.9"))
    then = broadened(first, request("lorentzian:1.5+total"))
    assert np.abs(np.array(then.absorption) - at_once.absorption).max() < 5e-3


def test_what_has_the_total_already_stays_and_more_is_refused() -> None:
    has = document(Broadening(kind="lorentzian", width=0.96, origin="the code's"))
    assert broadened(has, request("core-hole+total")) is has, "tables differ by this much"
    with pytest.raises(SpectrumError, match="nothing takes broadening away"):
        broadened(document(HALF), request("lorentzian:0.2+total"))
    with pytest.raises(SpectrumError, match="nothing takes broadening away"):
        broadened(document(BLURRED), request("gaussian:0.1+total"))


def test_an_arctangent_needs_an_edge_and_a_core_hole_a_table() -> None:
    with pytest.raises(SpectrumError, match="no edge energy"):
        broadened(document(edge=None), request("arctangent:15,30,30"))
    with pytest.raises(StructureError, match="no core-hole width"):
        broadened(document().model_copy(update={"edge": "P1"}), request("core-hole"))
    grown = broadened(document(), request("arctangent:15,30,30"))
    with pytest.raises(SpectrumError, match="grows with energy"):
        broadened(grown, request("lorentzian:3+total"))


@pytest.mark.parametrize(
    "text",
    ["", "box:1", "lorentzian", "lorentzian:", "lorentzian:-1", "gaussian:x", "voigt:1",
     "voigt:1,0", "core-hole:1", "arctangent:15,30", "lorentzian:nan",
     "gaussian:1+all", "gaussian:inf"],
)  # fmt: skip
def test_what_is_no_broadening_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(SpectrumError, match=r"is no broadening.*core-hole, lorentzian:WIDTH"):
        request(text)


@pytest.mark.parametrize("text", ["core-hole", "voigt:0.9,0.5+total", "arctangent:15,30,30"])
def test_a_request_is_written_as_it_is_read(text: str) -> None:
    assert str(request(text)) == text
    assert request("arctan:1,2,3").kind == "arctangent"


def test_documents_without_an_arctangent_are_stored_as_ever() -> None:
    assert HALF.model_dump() == {"kind": "lorentzian", "width": 0.5, "origin": "the code's"}
