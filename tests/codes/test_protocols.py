from __future__ import annotations

import pytest

from nearedge.codes import code_names, get_code
from nearedge.codes.protocols import load_protocol, protocol_names
from nearedge.errors import InputRefused


@pytest.mark.parametrize(
    ("name", "scf", "fms"), [("fast", 3.2, 4.0), ("balanced", 4.0, 6.0), ("precise", 7.0, 9.0)]
)
def test_feff_protocols_have_the_published_radii(name: str, scf: float, fms: float) -> None:
    protocol = load_protocol("feff", name)
    assert (protocol.number("scf_radius"), protocol.number("fms_radius")) == (scf, fms)
    assert protocol.label == f"{name}@1"


def test_protocols_differ_in_their_radii_only() -> None:
    settings = [dict(load_protocol("feff", name).settings) for name in protocol_names("feff")]
    for each in settings:
        del each["scf_radius"], each["fms_radius"]
    assert settings[0] == settings[1] == settings[2]


def test_a_protocol_is_found_by_its_label_too() -> None:
    assert load_protocol("feff", "fast@1") == load_protocol("feff", "fast")


@pytest.mark.parametrize("name", ["quick", "fast@2", ""])
def test_an_unknown_protocol_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InputRefused, match=r"fast@1, balanced@1, precise@1") as refused:
        load_protocol("feff", name)
    assert refused.value.name == "unknown_protocol"


def test_codes_are_found_by_name() -> None:
    assert "feff" in code_names()
    assert get_code("feff").name == "feff"
    with pytest.raises(InputRefused, match="known: feff"):
        get_code("feff7")


def test_numbers_may_be_written_with_an_exponent_alone() -> None:
    """YAML takes 1e1 for text."""
    changed = load_protocol("feff", "fast+fms_radius=1e1+l_max=4e0")
    assert changed.label == "fast@1+fms_radius=10.0+l_max=4"
    assert load_protocol("feff", changed.label) == changed
