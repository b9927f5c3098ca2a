"""From frozen data sets to predictions, with a featurizer that takes no time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pymatgen.core import Structure

from nearedge.schemas.model import FeaturizerRef
from nearedge.settings import get_settings
from nearedge.spectra.spectrum import FloatArray
from nearedge.store.connection import connect
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.builtin import builtin_structure

from .conftest import Command, fill

pytestmark = pytest.mark.integration

NAMES = ("rutile", "anatase", "TiO", "Ti2O3", "SrTiO3")


class Distances:
    """Three numbers a site: element, and how near its nearest neighbours are."""

    ref = FeaturizerRef(name="m3gnet", weights_sha256="0" * 64, size=3)
    blocks: ClassVar[dict[str, int]] = {"m3gnet:3": 3}

    def features(self, structure: Structure) -> FloatArray:
        distances = structure.distance_matrix + 10.0 * np.eye(len(structure))
        nearest = np.sort(distances, axis=1)[:, :2]
        numbers = [site.specie.Z for site in structure]
        return np.column_stack([numbers, nearest]).astype(np.float64)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every place that asks for a featurizer get the quick one."""
    for place in ("makers.learning.train", "makers.learning.predict", "cli.applying"):
        monkeypatch.setattr(f"nearedge.{place}.featurizer_of", lambda name: Distances())


@pytest.fixture
def cifs(tmp_path: Path) -> list[Path]:
    paths = []
    for name in ("brookite", "rutile"):
        paths.append(tmp_path / f"{name}.cif")
        builtin_structure(name).structure.to(filename=str(paths[-1]))
    return paths


@pytest.fixture
def trained(nearedge: Command, ready: None, quick: None) -> Command:
    """Return the command after a model called `ti` was trained."""
    fill(SpectraStore.from_settings(get_settings()), NAMES)
    made = nearedge("dataset", "create", "ti", "--absorber", "Ti", "--split", "all", "--json")
    assert made.code == 0, made.err
    assert made.json["parts"] == {"train": len(NAMES)}
    learned = nearedge("train", "ti", "--json")
    assert learned.code == 0, learned.err
    assert learned.json["training_rows"] == len(NAMES)
    return nearedge


def check_prediction(answer: dict[str, object], path: Path) -> None:
    assert set(answer) == {"structure", "sites", "average"}
    assert answer["structure"] == path.stem
    sites, average = answer["sites"], answer["average"]
    assert isinstance(sites, list)
    assert isinstance(average, dict)
    assert {"energy", "absorption", "std", "error_bound", "outside"} < set(average)
    for site in sites:
        assert {"site", "multiplicity", "std", "half_width_95", "distance", "outside"} < set(site)
        assert site["error_bound"] > 0
        lengths = {len(site[name]) for name in ("energy", "absorption", "std")}
        assert lengths == {len(average["energy"])}
        assert min(site["std"]) >= 0
    weights = np.array([site["multiplicity"] for site in sites], dtype=float)
    mean = np.average([site["absorption"] for site in sites], axis=0, weights=weights)
    np.testing.assert_allclose(mean, average["absorption"], rtol=1e-9)


def test_predictions_are_one_object_per_structure_in_the_order_given(
    trained: Command, cifs: list[Path]
) -> None:
    for order in (cifs, cifs[::-1]):
        said = trained("predict", "ti", *order, "--absorber", "Ti", "--json")
        assert said.code == 0, said.err
        assert len(said.json) == 2
        for answer, path in zip(said.json, order, strict=True):
            check_prediction(answer, path)
    brookite = builtin_structure("brookite").structure
    number = sum(site.specie.symbol == "Ti" for site in brookite)
    unique = trained("predict", "ti", cifs[0], "--json").json[0]
    assert [site["multiplicity"] for site in unique["sites"]] == [number]
    every = trained("predict", "ti", cifs[0], "--all-sites", "--json").json[0]
    assert [site["multiplicity"] for site in every["sites"]] == [1] * number
    assert len({site["site"] for site in every["sites"]}) == number


def test_a_folder_predicts_the_same_without_any_database(
    trained: Command, cifs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trained("predict", "ti", *cifs, "--json").json
    folder = tmp_path / "model"
    assert trained("models", "export", "ti", "--output", folder).code == 0
    monkeypatch.setenv("NEAREDGE_HOME", str(tmp_path / "nothing"))
    assert trained("status", "--json").json["state"] == "down"
    said = trained("predict", folder, *cifs, "--json", "--plot", tmp_path / "p.png")
    assert said.code == 0, said.err
    assert said.json == before
    assert (tmp_path / "p.png").exists()


def test_a_bad_structure_is_named_and_nothing_is_printed(
    trained: Command, cifs: list[Path], tmp_path: Path
) -> None:
    empty = tmp_path / "empty.cif"
    empty.touch()
    copper = tmp_path / "copper.cif"
    builtin_structure("Cu2O").structure.to(filename=str(copper))
    for bad in (empty, copper, tmp_path / "missing.cif"):
        said = trained("predict", "ti", cifs[0], bad, "--absorber", "Ti", "--json")
        assert (said.code, said.out) == (1, "")
        assert bad.name in said.err


def test_what_a_model_does_not_know_is_refused(trained: Command, cifs: list[Path]) -> None:
    wrong_element = trained("predict", "ti", cifs[0], "--absorber", "O", "--json")
    assert (wrong_element.code, wrong_element.out) == (1, "")
    assert "Ti" in wrong_element.err
    for missing in ("nobody", "no/such/folder"):
        said = trained("predict", missing, cifs[0])
        assert said.code == 1
        assert missing in said.err


def test_models_and_data_sets_are_listed_shown_and_judged(trained: Command) -> None:
    (listed,) = trained("models", "list", "--json").json
    assert (listed["name"], listed["absorber"]) == ("ti", "Ti")
    assert trained("models", "show", "ti", "--json").json == listed
    assert listed["model_id"] in trained("models", "show", "ti").out
    (dataset,) = trained("dataset", "list", "--json").json
    assert dataset["parts"] == {"train": len(NAMES)}
    assert len(trained("dataset", "show", "ti", "--json").json["rows"]) == len(NAMES)
    assert "Ti K by feff fast@1" in trained("dataset", "show", "ti").out
    judged = trained("evaluate", "ti", "--json")
    assert judged.json["part"] == "cv"
    assert judged.json["metrics"]["eta"]["value"] > 0
    assert trained("evaluate", "ti", "--part", "val").code == 1


def test_models_are_compared_on_the_same_spectra(trained: Command) -> None:
    other = trained("train", "ti", "--name", "stiff", "--set", "ridge=0.5", "--json")
    assert other.code == 0, other.err
    assert other.json["known"] is False
    assert trained("train", "ti", "--name", "stiff", "--set", "ridge=0.5", "--json").json["known"]
    said = trained("models", "compare", "ti", "stiff", "--json")
    assert said.code == 0, said.err
    (pair,) = said.json
    assert pair["second"] == "stiff"
    assert pair["eta_ratio"]["low"] <= pair["eta_ratio"]["value"] <= pair["eta_ratio"]["high"]
    assert trained("models", "compare", "ti").code == 2
    for option in ("ridge", "ridge=", "nonsense=1", "ridge=much", "ridge=-1"):
        said = trained("train", "ti", "--set", option)
        assert said.code in (1, 2), option
        assert option.split("=")[0] in said.err


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (("--set", "rigde=1"), "no option 'rigde'"),
        (("--head", "oracle"), "no head 'oracle'"),
        (("--head", "average", "--set", "kinds=kernel,oracle"), "no head 'oracle' to average"),
        (("--head", "end_to_end", "--folds", "3"), "cannot be trained with folds"),
    ],
)
def test_what_is_wrong_with_a_head_is_said_before_features_are_computed(
    trained: Command, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], reason: str
) -> None:
    begun: list[object] = []
    monkeypatch.setattr("nearedge.cli.applying.featurize_stored", lambda *a, **_: begun.append(a))
    said = trained("train", "ti", *given)
    assert said.code == 1
    assert reason in " ".join(said.err.split())
    assert not begun


def test_a_damaged_card_is_refused_wherever_it_is(
    trained: Command, cifs: list[Path], tmp_path: Path
) -> None:
    assert trained("models", "verify", "--json").json[0]["state"] == "intact"
    folder = tmp_path / "model"
    assert trained("models", "export", "ti", "--output", folder).code == 0
    text = (folder / "card.json").read_text()
    (folder / "card.json").write_text(text.replace('"training_rows": 5', '"training_rows": 50'))
    for verb in (("models", "verify", folder), ("predict", folder, cifs[0])):
        said = trained(*verb)
        assert said.code == 1
        assert "digest" in said.out + said.err
    cards = connect()["models"]
    cards.update_one({}, {"$set": {"training_rows": 50}})
    assert trained("models", "verify").code == 1
    assert trained("models", "show", "ti").code == 1
    assert trained("predict", "ti", cifs[0]).code == 1
    # As a release without digests would have left it.
    cards.update_one({}, {"$set": {"digest": None}})
    said = trained("predict", "ti", cifs[0], "--json")
    assert (said.code, len(said.json)) == (0, 1)
    assert "no digest" in said.err


def test_a_kernel_cannot_be_fine_tuned_and_says_so(trained: Command) -> None:
    said = trained("finetune", "ti", "ti", "--name", "tuned")
    assert said.code == 1
    assert "cannot start from another" in said.err


def test_a_search_finds_options_and_goes_further_with_more_trials(trained: Command) -> None:
    command = ("search", "ti", "--name", "found", "--vary", "ridge=1e-5:1:log", "--json")
    queued = trained(*command, "--trials", 2, "--queue-only")
    assert queued.json["state"] == "new"
    assert trained(*command, "--trials", 2, "--queue-only").json["state"] == "queued"
    other = trained("search", "ti", "--vary", "ridge=5", "--trials", 1, "--queue-only", "--json")
    assert other.json["search_id"] != queued.json["search_id"]
    for vary in ("ridge", "ridge=2:1", "ridge=0:1:log", "nonsense=1:2"):
        assert trained("search", "ti", "--vary", vary).code == 2


def test_split_files_divide_by_label(nearedge: Command, ready: None, tmp_path: Path) -> None:
    fill(SpectraStore.from_settings(get_settings()), NAMES)
    train, val = tmp_path / "train.txt", tmp_path / "val.txt"
    train.write_text("rutile_000\nTiO_000\nnowhere_000\n")
    val.write_text("anatase_000\n")
    for options in (("--split-files", train, val), ("--split-files", train, "--split-files", val)):
        said = nearedge("dataset", "create", "ti", "--absorber", "Ti", *options, "--json")
        assert said.code == 0, said.err
        assert said.json["parts"] == {"train": 2, "val": 1}
        assert said.json["missing"] == ["nowhere_000"]
    alone = nearedge("dataset", "create", "ti", "--absorber", "Ti", "--split-files", train)
    assert alone.code == 2
    gone = nearedge("dataset", "create", "x", "--absorber", "Ti", "--split-files", train, "gone")
    assert gone.code == 1
    assert "gone" in gone.err
    unit = nearedge("dataset", "create", "x", "--absorber", "Ti", "--unit", "barn")
    assert unit.code == 1
    assert "barn" in unit.err
    none = nearedge("dataset", "create", "x", "--absorber", "Cu")
    assert none.code == 1


def test_features_have_the_shape_of_predictions(
    nearedge: Command, quick: None, cifs: list[Path]
) -> None:
    said = nearedge("featurize", *cifs, "--featurizer", "m3gnet", "--absorber", "Ti", "--json")
    assert said.code == 0, said.err
    answers = json.loads(said.out)
    assert [answer["structure"] for answer in answers] == [path.stem for path in cifs]
    for answer in answers:
        assert set(answer) == {"structure", "sites", "average"}
        for site in answer["sites"]:
            assert set(site) == {"site", "multiplicity", "features"}
            assert len(site["features"]) == 3
    everything = nearedge("featurize", cifs[1], "--all-sites", "--json").json[0]
    assert [site["site"] for site in everything["sites"]] == list(range(6))
