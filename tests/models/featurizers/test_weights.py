"""Weights are looked for in order, and their absence is said at once."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from nearedge.errors import WeightsError
from nearedge.models.featurizers import weights
from nearedge.models.featurizers.weights import find_weights

NAME = "M3GNet-MP-2021.2.8-PES"


def put(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for file in weights.FILES:
        (folder / file).write_bytes(b"x")
    return folder


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)


def test_a_folder_of_several_models_and_the_models_own_both_serve(tmp_path: Path) -> None:
    own = put(tmp_path / "models" / NAME)
    assert find_weights(NAME, tmp_path / "models", tmp_path / "cache") == own
    assert find_weights(NAME, own, tmp_path / "cache") == own


def test_the_setting_beats_the_cache(tmp_path: Path) -> None:
    put(tmp_path / "cache" / NAME)
    own = put(tmp_path / "models" / NAME)
    assert find_weights(NAME, tmp_path / "models", tmp_path / "cache") == own


def test_both_layouts_of_the_cache_are_known(tmp_path: Path) -> None:
    old = put(tmp_path / "old" / NAME)
    hub = put(tmp_path / "hub" / f"models--materialyze--{NAME}" / "snapshots" / "abc")
    assert find_weights(NAME, None, tmp_path / "old") == old
    assert find_weights(NAME, tmp_path / "empty", tmp_path / "hub") == hub


def test_nowhere_and_offline_fails_and_offers_the_other_featurizer(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"NEAREDGE_MODEL_PATH .* `--featurizer chgnet`"):
        find_weights(NAME, tmp_path, tmp_path / "cache")


def test_a_hub_that_is_switched_off_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="switched off"):
        find_weights(NAME, None, tmp_path)


def test_a_hub_that_answers_with_an_error_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise OSError("connection reset")

    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr(weights.huggingface_hub, "hf_hub_download", broken)
    with pytest.raises(WeightsError, match="gives none"):
        find_weights(NAME, None, tmp_path)


def test_what_the_hub_gives_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(tmp_path / "downloaded")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr(
        weights.huggingface_hub, "hf_hub_download", lambda repo, file, **_: str(folder / file)
    )
    assert find_weights(NAME, None, tmp_path / "cache") == folder
