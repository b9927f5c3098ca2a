"""What a code raises to converge is listed, and every value is one of its settings."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from nearedge.codes import code_names, convergence
from nearedge.codes.convergence import load_convergence
from nearedge.codes.protocols import load_protocol, protocol_names
from nearedge.errors import InputRefused, SettingsError

LISTED = [n for n in code_names() if (files("nearedge.codes") / n / "convergence.yaml").is_file()]


@pytest.mark.parametrize("code", LISTED)
def test_every_list_belongs_to_its_protocols(code: str) -> None:
    for protocol in protocol_names(code):
        found = load_convergence(code, protocol)
        settings = load_protocol(code, protocol).settings
        for each in found.parameters:
            kind = type(settings[each.name])
            assert all(type(value) is kind for value in each.values), each.name
    strictness = [load_convergence(code, name).thresholds for name in protocol_names(code)]
    assert [each.spearman for each in strictness] == sorted(each.spearman for each in strictness)
    assert [each.mse for each in strictness] == sorted((e.mse for e in strictness), reverse=True)


def test_feff_raises_potentials_scattering_and_momentum() -> None:
    found = load_convergence("feff", "balanced")
    assert [each.name for each in found.parameters] == ["scf_radius", "fms_radius", "l_max"]


def test_parameters_and_values_may_be_chosen() -> None:
    found = load_convergence(
        "feff", "fast+l_max=3", names=["fms_radius"], values={"fms_radius": [4, 5]}
    )
    (only,) = found.parameters
    assert (only.name, only.values, only.unit) == ("fms_radius", [4.0, 5.0], "angstrom")
    assert all(isinstance(value, float) for value in only.values)


@pytest.mark.parametrize(
    ("names", "values", "reason"),
    [
        (["cutoff"], None, "scf_radius, fms_radius, l_max"),
        (["l_max"], {"fms_radius": [4.0, 5.0]}, "not raised"),
        (["l_max", "l_max"], None, "twice"),
        (["fms_radius"], {"fms_radius": [4.0]}, "at least are needed"),
        (["fms_radius"], {"fms_radius": [4.0, 6.0, 5.0]}, "rising order"),
        (["fms_radius"], {"fms_radius": [6.0, 5.0]}, "rising order"),
        (["fms_radius"], {"fms_radius": ["far", "near"]}, "takes a number"),
    ],
)
def test_what_cannot_be_raised_is_refused(
    names: list[str], values: dict[str, list[object]] | None, reason: str
) -> None:
    with pytest.raises(InputRefused, match=reason):
        load_convergence("feff", "fast", names=names, values=values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("thresholds: {}\nparameters: {}\n", "no protocol has thresholds"),
        ("thresholds: {fast: {spearman: 2, mse: 1}}\nparameters: {}\n", "less than or equal to 1"),
        ("parameters: [", "malformed"),
        (
            "thresholds: {fast: {spearman: 0.9, mse: 1}}\n"
            "parameters: {l_max: {unit: null, values: [2, 3]}}\n",
            "no thresholds for protocol balanced",
        ),
    ],
)
def test_a_malformed_list_is_named(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "feff").mkdir()
    (tmp_path / "feff" / "convergence.yaml").write_text(text)
    monkeypatch.setattr(convergence, "files", lambda _package: tmp_path)
    convergence._file.cache_clear()
    try:
        with pytest.raises(SettingsError, match=reason):
            load_convergence("feff", "fast")
    finally:
        convergence._file.cache_clear()


def test_a_code_without_a_list_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "files", lambda _package: tmp_path)
    convergence._file.cache_clear()
    try:
        with pytest.raises(InputRefused, match="lists nothing to converge") as refused:
            load_convergence("feff", "fast")
        assert refused.value.name == "no_convergence"
    finally:
        convergence._file.cache_clear()
