"""UPF files of both versions are read, and damaged ones are not."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from scipy.special import gammaincc

from nearedge.codes.xspectra.pseudo.upf import UpfError, core_wavefunctions, kinetic_tail, read_upf

RADII = np.linspace(0.01, 20.0, 800)


def _numbers(values) -> str:
    return " ".join(f"{value:.12E}" for value in values)


def _version_2(wave) -> str:
    return f"""<UPF version="2.0.1">
  <PP_HEADER element="C " pseudo_type="NC" z_valence="4.0"
     wfc_cutoff="0.0" has_gipaw="true" l_max="1"/>
  <PP_MESH><PP_R type="real">{_numbers(RADII)}</PP_R>
  <PP_RAB>{_numbers(np.gradient(RADII))}</PP_RAB></PP_MESH>
  <PP_PSWFC>
  <PP_CHI.1 label="2S" l="0" occupation="2.0">{_numbers(wave)}</PP_CHI.1>
  <PP_CHI.2 label="3S" l="0" occupation="0.0">{_numbers(np.sin(30 * RADII))}</PP_CHI.2>
  </PP_PSWFC>
  <PP_GIPAW><PP_GIPAW_CORE_ORBITALS number_of_core_orbitals="1">
  <PP_GIPAW_CORE_ORBITAL.1 n="1.0" l="0.0">{_numbers(wave)}</PP_GIPAW_CORE_ORBITAL.1>
  </PP_GIPAW_CORE_ORBITALS></PP_GIPAW>
</UPF>"""


def test_version_1_is_read(upf_text):
    upf = read_upf(upf_text("Ti", 12.0, cutoff=40.0))
    assert (upf.header.element, upf.header.kind, upf.header.valence) == ("Ti", "NC", 12.0)
    assert (upf.header.cutoff, upf.header.has_gipaw) == (40.0, True)
    assert upf.radii.tolist() == [0.01, 0.02, 0.04]
    assert [(w.n, w.l, w.values.tolist()) for w in upf.core_waves] == [(1, 0, [0.15, 0.25, 0.35])]


def test_version_2_is_read():
    upf = read_upf(_version_2(np.exp(-RADII)))
    assert (upf.header.element, upf.header.valence, upf.header.cutoff) == ("C", 4.0, None)
    assert upf.header.has_gipaw
    assert upf.core_waves[0].values == pytest.approx(np.exp(-RADII))


def test_the_core_waves_are_written_as_xspectra_reads_them(upf_text):
    assert core_wavefunctions(read_upf(upf_text())) == (
        "# number of core states 1 =  1 0;\n"
        "1.00000000000E-02 1.50000000000E-01\n"
        "2.00000000000E-02 2.50000000000E-01\n"
        "4.00000000000E-02 3.50000000000E-01\n"
        "\n"
    )


@pytest.mark.integration
@pytest.mark.parametrize(("upf", "wave"), [("C_PBE_TM_2pj", "C"), ("Cu_US_PBE_3pj_lowE", "Cu")])
def test_the_core_waves_are_those_of_quantum_espressos_own_tool(shipped, upf, wave):
    text = gzip.decompress((shipped / f"pseudo/{upf}.UPF.gz").read_bytes()).decode()
    theirs = gzip.decompress((shipped / f"reference/{wave}.wfc.gz").read_bytes()).decode()
    ours = core_wavefunctions(read_upf(text))

    def numbers(of: str) -> np.ndarray:
        return np.loadtxt([line for line in of.splitlines() if not line.startswith("#")])

    assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-5)


def test_without_gipaw_there_are_no_core_waves(upf_text):
    with pytest.raises(UpfError, match="no GIPAW section"):
        core_wavefunctions(read_upf(upf_text(gipaw=False)))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text.replace("2.0E-02", "nan"), "radii"),
        (lambda text: text.replace("2.0E-02", "5.0E-02"), "radii"),
        (lambda text: text.replace("3.5E-01", ""), "core wave 1 0"),
        (lambda text: text.replace("3.5E-01", "Infinity"), "core wave 1 0"),
        (lambda text: text[: text.index("</PP_R>")], "no PP_R"),
        (lambda text: text.replace("Z valence", "").replace("12.0", "twelve"), "damaged"),
        (lambda text: "<html></html>", "no UPF file"),
    ],
)
def test_a_damaged_file_is_refused_with_what_is_wrong(upf_text, damage, says):
    with pytest.raises(UpfError, match=says):
        read_upf(damage(upf_text("Ti", 12.0)))


def test_the_suggested_cutoff_is_where_an_analytic_waves_kinetic_energy_ends():
    # u = r exp(-r²/2): |u(q)|² ~ q² exp(-q²), so that the kinetic energy beyond Q can be written
    # with the incomplete gamma function: 1.5 Γ(5/2, Q²) / Γ(5/2).
    upf = read_upf(_version_2(RADII * np.exp(-(RADII**2) / 2)))
    cutoff = kinetic_tail(upf, 0.02)
    step_below = (np.sqrt(cutoff) - 0.05) ** 2
    assert 1.5 * gammaincc(2.5, cutoff) < 0.02 < 1.5 * gammaincc(2.5, step_below)
