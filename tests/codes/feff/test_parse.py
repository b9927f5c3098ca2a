from __future__ import annotations

import numpy as np
import pytest

from nearedge.codes.feff.deck import parse_deck
from nearedge.codes.feff.parse import parse_xmu, scf_converged
from nearedge.errors import CodeError


def test_the_header_and_the_table_are_read(recorded) -> None:
    text = recorded("octahedron").text("xmu.dat")
    xmu = parse_xmu(text)
    table = np.loadtxt(text.splitlines())
    np.testing.assert_array_equal(xmu.energy, table[:, 0])
    np.testing.assert_array_equal(xmu.absorption, table[:, 3])
    header = xmu.header
    assert (header.version, header.atomic_number, header.shell) == ("10.0.0", 22, "K")
    assert header.core_hole_width == pytest.approx(0.903)
    assert header.fermi_energy == pytest.approx(-11.73, abs=0.01)
    assert header.normalization == pytest.approx(4.714e-4, rel=1e-3)
    assert (header.scf_radius, header.fms_radius) == (3.2, 3.5)


def test_the_edge_is_where_the_wave_number_is_zero(recorded) -> None:
    for case in ("octahedron", "anatase"):
        text = recorded(case).text("xmu.dat")
        table = np.loadtxt(text.splitlines())
        crossing = np.interp(0.0, table[:, 2], table[:, 0])
        assert parse_xmu(text).edge_energy == pytest.approx(crossing, abs=0.02)


def test_a_result_carries_units_reference_and_broadening(recorded) -> None:
    result = parse_xmu(recorded("anatase").text("xmu.dat")).result()
    assert result.spectrum.unit == "normalized"
    in_bohr = result.spectrum.to_unit("1e-3 bohr^2")  # type: ignore[arg-type]
    # OmniXAS's unit: xsedge+50 in Å², divided by a0², times 1000 (arXiv:2409.19552).
    factor = result.spectrum.normalization / 0.529177210903**2 * 1000
    np.testing.assert_allclose(in_bohr.absorption, result.spectrum.absorption * factor)
    assert result.energy_reference.kind == "absolute"
    assert result.broadening[0].kind == "lorentzian"
    assert result.results["fermi_energy"].unit == "eV"


def test_a_constant_loss_is_broadening_too(recorded) -> None:
    # Compared with a run of EXCHANGE 0 0 1 2: a Lorentzian of 2 eV turns that of 0 0 0 2 into it.
    text = recorded("anatase").text("xmu.dat").replace("Vi= 0.000E+00", "Vi= 1.000E+00")
    widths = [each.width for each in parse_xmu(text).result().broadening]
    assert widths == pytest.approx([0.903, 2.0])


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("output_empty", lambda text: ""),
        ("output_empty", lambda text: " \n"),
        ("output_truncated", lambda text: text[: len(text) // 2]),
        ("output_truncated", lambda text: text[:-3]),
        ("output_truncated", lambda text: text[: text.index("chi")] + "chi     @#\n"),
        ("output_not_finite", lambda text: text.replace("1.3021940607E-02", "NaN")),
        ("output_not_finite", lambda text: text[:-40] + " ************ 1.0E+00\n"),
        ("output_not_increasing", lambda text: text + text.splitlines()[40] + "\n"),
        ("output_foreign", lambda text: "energy,mu\n1,2\n"),
        ("output_foreign", lambda text: "\x89PNG\r\n" + text),
        ("output_foreign", lambda text: text.replace("Gam_ch", "Gamma")),
        ("output_foreign", lambda text: text + "these are six words not numbers\n"),
    ],
)
def test_a_spoiled_output_has_its_own_name(recorded, name: str, spoil) -> None:
    with pytest.raises(CodeError) as caught:
        parse_xmu(spoil(recorded("octahedron").text("xmu.dat")))
    assert caught.value.name == name


def test_an_absorption_no_edge_has_is_refused(recorded) -> None:
    head, table = recorded("octahedron").text("xmu.dat").split("@#\n")
    rows = [line.split() for line in table.splitlines()]
    for factor in (1e-6, 1e6, -1.0):
        scaled = [[*row[:3], f"{float(row[3]) * factor:.6E}", *row[4:]] for row in rows]
        body = "\n".join(" ".join(row) for row in scaled) + "\n"
        with pytest.raises(CodeError) as caught:
            parse_xmu(head + "@#\n" + body)
        assert caught.value.name == "output_implausible"


def test_an_output_cut_between_lines_is_truncated(recorded) -> None:
    recording = recorded("octahedron")
    deck = parse_deck(recording.deck)
    xmu = parse_xmu(recording.text("xmu.dat"))
    xmu.check_against(deck)
    short = "\n".join(recording.text("xmu.dat").splitlines()[:-20]) + "\n"
    with pytest.raises(CodeError, match="instead of 6/Å") as caught:
        parse_xmu(short).check_against(deck)
    assert caught.value.name == "output_truncated"


def test_an_output_of_another_edge_or_element_is_no_success(recorded) -> None:
    # feff10 takes EDGE P9 and computes K.
    recording = recorded("unknown_edge")
    xmu = parse_xmu(recording.text("xmu.dat"))
    for old, new, name in [
        ("EDGE P9", "EDGE L3", "wrong_edge"),
        ("0   22   Ti", "0   23   V", "wrong_absorber"),
    ]:
        with pytest.raises(CodeError) as caught:
            xmu.check_against(parse_deck(recording.deck.replace(old, new)))
        assert caught.value.name == name


def test_an_unconverged_field_is_told_by_log_and_by_table(recorded) -> None:
    good, bad = recorded("octahedron"), recorded("scf_not_converged")
    assert scf_converged(good.text("log1.dat"), good.text("convergence.scf"))
    assert not scf_converged(bad.text("log1.dat"), bad.text("convergence.scf"))
    assert not scf_converged("", bad.text("convergence.scf"))
    assert not scf_converged(bad.text("log1.dat"), good.text("convergence.scf"))
    assert not scf_converged("", "")
