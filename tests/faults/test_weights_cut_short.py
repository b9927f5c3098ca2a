"""Bad luck: weights cut short, changed, or another model's never give a number."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nearedge.errors import WeightsError
from nearedge.models.featurizers.m3gnet import load_m3gnet

NAME = "M3GNet-MP-2021.2.8-PES"

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(shared: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of the published weights that may be damaged."""
    copy = tmp_path / NAME
    copy.mkdir()
    for name in ("model.pt", "state.pt"):
        shutil.copyfile(shared(f"models/{NAME}") / name, copy / name)
    return copy


def edit(path: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def test_an_untouched_copy_loads(folder: Path) -> None:
    assert load_m3gnet(folder).ref.size == 64


@pytest.mark.parametrize("name", ["model.pt", "state.pt"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_file_cut_short_is_refused_by_name(folder: Path, name: str, share: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match=rf"{name} cannot be read .* chgnet"):
        load_m3gnet(folder)


@pytest.mark.parametrize("name", ["model.pt", "state.pt"])
def test_a_missing_file_is_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(WeightsError, match=f"lack {name}"):
        load_m3gnet(folder)


def test_bytes_changed_in_the_middle_are_refused(folder: Path) -> None:
    content = bytearray((folder / "state.pt").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = b"\x40" * 4000
    (folder / "state.pt").write_bytes(content)
    with pytest.raises(WeightsError):
        load_m3gnet(folder)


def test_a_missing_parameter_is_refused_by_name(folder: Path) -> None:
    key = "model.graph_layers.2.conv.node_weight_func.weight"
    edit(folder / "state.pt", lambda state: state.pop(key))
    with pytest.raises(WeightsError, match=r"lacks 1 parameters .*node_weight_func"):
        load_m3gnet(folder)


def test_a_parameter_of_another_shape_is_refused(folder: Path) -> None:
    key = "model.graph_layers.2.conv.node_weight_func.weight"
    edit(folder / "state.pt", lambda state: state.update({key: state[key][:-1]}))
    with pytest.raises(WeightsError, match="do not fit"):
        load_m3gnet(folder)


def test_weights_with_one_layer_scaled_give_a_wrong_energy_and_are_refused(folder: Path) -> None:
    key = "model.graph_layers.0.conv.node_weight_func.weight"
    edit(folder / "state.pt", lambda state: state.update({key: state[key] * 1.02}))
    with pytest.raises(WeightsError, match="eV/atom where the published model gives"):
        load_m3gnet(folder)


def test_numbers_that_are_not_finite_are_refused(folder: Path) -> None:
    key = "model.graph_layers.0.conv.node_weight_func.weight"
    edit(folder / "state.pt", lambda state: state.update({key: state[key] * float("nan")}))
    with pytest.raises(WeightsError, match="eV/atom"):
        load_m3gnet(folder)


def test_the_other_model_of_the_same_name_is_refused(folder: Path) -> None:
    def change(arguments: dict) -> None:  # type: ignore[type-arg]
        arguments["model"]["init_args"]["threebody_cutoff"] = 4.0

    edit(folder / "model.pt", change)
    with pytest.raises(WeightsError, match=r"another model: threebody_cutoff is 4\.0"):
        load_m3gnet(folder)


def test_a_file_that_names_another_class_builds_nothing(folder: Path) -> None:
    edit(folder / "model.pt", lambda arguments: arguments["model"].update({"@class": "Popen"}))
    with pytest.raises(WeightsError, match="does not describe an M3GNet"):
        load_m3gnet(folder)


def test_a_pickle_that_would_run_code_is_refused_unread(folder: Path, tmp_path: Path) -> None:
    # A pickle by hand that calls os.mkdir: the restricted loader must not.
    target = tmp_path / "was_run"
    stream = f"cos\nmkdir\n(V{target}\ntR.".encode()
    (folder / "model.pt").write_bytes(stream)
    with pytest.raises(WeightsError, match=r"model\.pt cannot be read"):
        load_m3gnet(folder)
    assert not target.exists()
