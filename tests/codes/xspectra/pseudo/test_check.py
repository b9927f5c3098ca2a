"""The judgement of a potential, on potentials whose levels are known."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.codes.xspectra.pseudo.check import levels, phases, read_levels
from nearedge.codes.xspectra.pseudo.upf import Header, Upf

RADII = np.geomspace(1e-4, 60.0, 1500)


def _potential(l: int, strength: float) -> Upf:  # noqa: E741
    """A file with one projector r^(l+1) exp(-r²), of that strength in Ry."""
    shape = RADII ** (l + 1) * np.exp(-(RADII**2))
    numbers = " ".join(f"{value:.10E}" for value in shape)
    text = f'<PP_BETA.1 angular_momentum="{l}">{numbers}</PP_BETA.1><PP_DIJ>{strength}</PP_DIJ>'
    return Upf(Header("X", "NC", 1.0, None, False), RADII, [], text)


@pytest.mark.parametrize(("l", "expected"), [(1, [-1.0, -4 / 9]), (2, [-4 / 9, -0.25])])
def test_the_levels_of_an_ion_with_one_electron_are_those_of_theory(l, expected):  # noqa: E741
    screened = -4.0 / RADII  # Z = 2: -Z²/n² Ry
    found = levels(_potential(0, 0.0), screened, l)
    assert found[:2] == pytest.approx(expected, abs=0.01)


def test_an_attractive_projector_adds_a_deep_level_in_its_channel_only():
    screened = -4.0 / RADII
    ghost = levels(_potential(1, -200.0), screened, 1)
    assert ghost[0] < -5.0
    assert ghost[1] == pytest.approx(-1.0, abs=0.5)
    assert levels(_potential(1, -200.0), screened, 2)[0] == pytest.approx(-4 / 9, abs=0.01)


def test_a_phase_rises_by_one_pole_for_each_level():
    # A free s wave at radius R: u'/u = k cot(kR) has a pole at each kR = nπ.
    wave_vectors = np.linspace(0.05, 4 * np.pi, 4000)
    logarithmic = wave_vectors / np.tan(wave_vectors + 1e-9)
    phase = phases(logarithmic)
    assert np.all(np.diff(phase) > -1e-9)
    assert phase[-1] - phase[0] == pytest.approx(4.0, abs=0.6)


LOG = """
     ---------------------- Testing the pseudopotential ----------------------

     n l     nl             e AE (Ry)        e PS (Ry)    De AE-PS (Ry)
     1 0     3S   1( 2.00)       -5.77330       -5.77333        0.00003
     2 0     4S   1( 0.00)       -1.24186       -1.25611        0.01425  !

     eps = 5.6E-15  iter = 16
     ---------------------- End of pseudopotential test ----------------------
     1 0     1S 1( 2.00)      -357.8563      -178.9282     -4868.8833
     ---------------------- Testing the pseudopotential ----------------------
     1 0     3S   1( 2.00)       -4.60347       -4.59150       -0.01197  !
     ---------------------- End of pseudopotential test ----------------------
"""


def test_ld1s_comparison_of_levels_is_read():
    first, second = read_levels(LOG)
    assert [(x.label, x.atom, x.error) for x in first] == [
        ("3S", -5.7733, 0.00003),
        ("4S", -1.24186, 0.01425),
    ]
    assert second[0].electrons == 2.0
    assert second[0].error == -0.01197
