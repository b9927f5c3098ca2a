"""Trainings are done once, go on when killed, and take several elements, parents and spectra."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from nearedge.errors import DatasetError, ModelError
from nearedge.makers.learning.evaluate import EvaluateMaker
from nearedge.makers.learning.freeze import freeze_dataset
from nearedge.makers.learning.plan import Given, figures_prefix
from nearedge.makers.learning.predict import stored_model
from nearedge.makers.learning.spent import KEPT
from nearedge.makers.learning.splits import Split
from nearedge.makers.learning.targets import targets_of
from nearedge.makers.learning.train import CHECKPOINTS, TrainMaker, TrainOutcome, train
from nearedge.models import heads
from nearedge.models.heads import Fitted, Head, HeadPrediction, TrainingRows
from nearedge.models.left_out import from_bytes
from nearedge.models.registry import load_model, save_folder
from nearedge.models.trained import training_set
from nearedge.schemas import GridDoc
from nearedge.schemas.dataset import DatasetRow
from nearedge.settings import get_settings
from nearedge.spectra.spectrum import FloatArray
from nearedge.store.learned import DatasetStore, ModelStore
from nearedge.store.queries import SpectrumQuery

from .copper import QUERY, LatticeFeaturizer, add, record

SPLIT = Split(kind="random", validation=0.25, test=0.0, seed=0)
NI = -651.0
"""eV from the K edge of Cu to that of Ni, on whose published grid these spectra then lie."""


class LineOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ridge: float = 1e-6


@dataclass(frozen=True, eq=False)
class LineHead:
    """Linear regression: it starts from a parent, keeps checkpoints, and leaves nothing out."""

    name: ClassVar[str] = "line"
    options: ClassVar[type[BaseModel]] = LineOptions
    fits: ClassVar[list[tuple[TrainingRows, Any, Path | None]]] = []
    dies: ClassVar[bool] = False

    weights: FloatArray

    @classmethod
    def fit(
        cls,
        rows: TrainingRows,
        options: LineOptions | None = None,
        *,
        seed: int = 0,
        parent: Head | None = None,
        checkpoints: Path | None = None,
    ) -> Fitted[Self]:
        cls.fits.append((rows, parent, checkpoints))
        if checkpoints is not None:
            checkpoints.mkdir(parents=True, exist_ok=True)
            (checkpoints / "step").write_text("1")
        if cls.dies:
            raise KeyboardInterrupt
        inputs = np.column_stack([rows.features, np.ones(len(rows.features))])
        square = inputs.T @ inputs + (options or LineOptions()).ridge * np.eye(inputs.shape[1])
        return Fitted(cls(np.linalg.solve(square, inputs.T @ rows.targets)))

    @classmethod
    def tells_left_out(cls, options: LineOptions | None = None) -> bool:
        return False

    @property
    def mean(self) -> FloatArray:
        return self.weights[-1]

    @property
    def size(self) -> int:
        return len(self.weights) - 1

    @property
    def points(self) -> int:
        return int(self.weights.shape[1])

    hyperparameters: ClassVar[dict[str, bool | int | float | str]] = {}

    def predict(self, features: FloatArray) -> HeadPrediction:
        mean = np.maximum(features @ self.weights[:-1] + self.weights[-1], 0)
        return HeadPrediction(mean, np.full_like(mean, 0.01), np.zeros(len(mean)))

    def correlation(self, features: FloatArray) -> FloatArray:
        return np.eye(len(features))

    def to_bytes(self) -> bytes:
        from safetensors.numpy import save  # noqa: PLC0415

        return bytes(save({"weights": self.weights}))

    @classmethod
    def from_bytes(cls, weights: bytes) -> Self:
        from safetensors.numpy import load  # noqa: PLC0415

        return cls(load(weights)["weights"])


@pytest.fixture
def line(database: Any, monkeypatch: pytest.MonkeyPatch) -> type[LineHead]:
    """A kind of head that says how often it was fitted, beside the real ones."""
    LineHead.fits.clear()
    monkeypatch.setattr(LineHead, "dies", False)

    def kind(name: str) -> type[Head]:
        return LineHead if name == "line" else heads.KernelHead

    for place in ("makers.train", "makers.training", "makers.search", "models.heads"):
        monkeypatch.setattr(f"nearedge.{place}.head_kind", kind)
    return LineHead


def freeze(database: Any, name: str = "cu", **query: str) -> str:
    wanted = SpectrumQuery(**{"absorber": "Cu", "code": "feff", **query})
    return freeze_dataset(database, name, wanted, split=SPLIT).dataset_id


def nickel(database: Any) -> str:
    add(
        database,
        *(
            record(f"mp-{200 + i}", round(3.8 + 0.05 * i, 3), absorber="Ni", zero=NI)
            for i in range(10)
        ),
    )
    return freeze(database, "ni", absorber="Ni")


def made(maker: TrainMaker, dataset: str | Sequence[str], **more: Any) -> TrainOutcome:
    return train(maker, dataset, **more)


# ---- once


def test_a_training_is_done_once_under_any_name(database: Any, line: type[LineHead]) -> None:
    freeze(database)
    first = made(TrainMaker(head="line", model="a"), "cu")
    again = made(TrainMaker(head="line", model="a"), "cu")
    other = made(TrainMaker(head="line", model="b"), "cu")
    assert (first.known, again.known, other.known) == (False, True, True)
    assert len(line.fits) == 1
    assert first.model_id == again.model_id != other.model_id
    assert {card.name for card in ModelStore(database).list()} == {"a", "b"}
    assert ModelStore(database).get("a")[1] == ModelStore(database).get("b")[1]


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"options": {"ridge": 0.1}}, {"parts": ("train", "val")}, {"folds": 3}]
)
def test_whatever_decides_the_model_makes_another_training(
    database: Any, line: type[LineHead], change: dict[str, Any]
) -> None:
    freeze(database)
    first = made(TrainMaker(head="line"), "cu")
    other = made(TrainMaker(head="line", **change), "cu")
    assert not other.known
    cards = [ModelStore(database).card(each.model_id) for each in (first, other)]
    assert cards[0].training_id != cards[1].training_id


def test_a_killed_training_finds_its_checkpoints_and_leaves_none(
    database: Any, line: type[LineHead], monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(database)
    monkeypatch.setattr(LineHead, "dies", True)
    with pytest.raises(KeyboardInterrupt):
        made(TrainMaker(head="line"), "cu")
    kept = get_settings().home / CHECKPOINTS
    assert [path.name for path in kept.rglob("step")] == ["step"]
    (spent,) = kept.rglob(KEPT)
    spent.write_text(str(float(spent.read_text()) + 1000.0))
    monkeypatch.setattr(LineHead, "dies", False)
    assert made(TrainMaker(head="line"), "cu").cpu_seconds > 1000.0
    assert line.fits[0][2] == line.fits[1][2] is not None
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("name", ["cu", "other"])
def test_who_finds_a_model_stored_by_one_that_was_killed_clears_its_checkpoints_away(
    database: Any, line: type[LineHead], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    freeze(database)
    put = ModelStore.put

    def put_and_die(self: ModelStore, *given: Any) -> None:
        put(self, *given)
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelStore, "put", put_and_die)
    with pytest.raises(KeyboardInterrupt):
        made(TrainMaker(head="line"), "cu")
    monkeypatch.setattr(ModelStore, "put", put)
    kept = get_settings().home / CHECKPOINTS
    assert list(kept.rglob("step")), "the model is stored, and its checkpoints are there"
    assert made(TrainMaker(head="line", model=name), "cu").known
    assert list(kept.iterdir()) == []


def test_a_fold_that_was_trained_is_not_trained_again(
    database: Any, line: type[LineHead], monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(database)
    fit = LineHead.fit.__func__  # type: ignore[attr-defined]

    def dies_at_the_third(cls: type[LineHead], *given: Any, **more: Any) -> Fitted[LineHead]:
        if len(cls.fits) == 3:
            cls.fits.append(None)  # type: ignore[arg-type]
            raise KeyboardInterrupt
        result: Fitted[LineHead] = fit(cls, *given, **more)
        return result

    monkeypatch.setattr(LineHead, "fit", classmethod(dies_at_the_third))
    maker = TrainMaker(head="line", folds=4)
    with pytest.raises(KeyboardInterrupt):
        made(maker, "cu")
    outcome = made(maker, "cu")
    # All rows, two folds, killed; all rows again, and the two folds that were left.
    assert len(line.fits) == 4 + 1 + 2
    assert outcome.metrics["cv_spectra"].value == 9


def test_options_that_a_head_lacks_are_refused_with_those_it_has(
    database: Any, line: type[LineHead]
) -> None:
    freeze(database)
    with pytest.raises(ModelError, match="no option 'length', only ridge"):
        made(TrainMaker(head="line", options={"length": 3}), "cu")
    with pytest.raises(ModelError, match=r"option ridge of the head line: .*number"):
        made(TrainMaker(head="line", options={"ridge": "much"}), "cu")


def test_an_end_to_end_training_with_folds_is_refused_before_it_begins(database: Any) -> None:
    freeze(database)
    with pytest.raises(ModelError, match="cannot be trained with folds"):
        made(TrainMaker(head="end_to_end", folds=3), "cu")
    assert ModelStore(database).list() == []


def test_what_folds_cost_is_counted(
    database: Any, line: type[LineHead], monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(database)
    fit = LineHead.fit.__func__  # type: ignore[attr-defined]

    def slow(cls: type[LineHead], *given: Any, **more: Any) -> Fitted[LineHead]:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
        result: Fitted[LineHead] = fit(cls, *given, **more)
        return result

    monkeypatch.setattr(LineHead, "fit", classmethod(slow))
    assert made(TrainMaker(head="line", folds=3), "cu").cpu_seconds >= 0.4


# ---- what is judged


def test_every_score_is_given_for_all_rows_and_for_those_that_are_no_outliers(
    database: Any,
) -> None:
    add(database, record("mp-80", 4.31, strange=0.8))
    train_labels = [f"mp-{i}_000" for i in range(12) if i != 5]
    split = Split(kind="labels", labels={"train": train_labels, "val": ["mp-80_000", "mp-5_000"]})
    freeze_dataset(database, "cu", QUERY, split=split)
    metrics = made(TrainMaker(), "cu").metrics
    assert metrics["val_spectra"].value == 2
    assert metrics["val_curated_spectra"].value == 1
    assert metrics["val_mean_mse"].value > 3 * metrics["val_curated_mean_mse"].value
    assert metrics["cv_curated_eta"] == metrics["cv_eta"], "no outlier is among those learned"
    maker = EvaluateMaker()
    outcome = maker.make.original(maker, "cu")
    assert outcome.metrics["curated_eta"].value == metrics["val_curated_eta"].value


def test_what_was_said_of_rows_left_out_is_kept_beside_the_model(database: Any) -> None:
    freeze(database)
    outcome = made(TrainMaker(), "cu")
    store = ModelStore(database)
    kept = store.left_out(store.card(outcome.model_id))
    assert kept is not None
    rows, found = from_bytes(kept)[0]
    dataset = DatasetStore(database).get("cu")
    assert rows.tolist() == dataset.split["train"]
    errors = np.mean((targets_of(database, dataset, rows.tolist()) - found.mean) ** 2, axis=1)
    assert float(np.median(errors)) == pytest.approx(
        outcome.metrics["cv_median_mse"].value, rel=1e-3
    )


def test_heads_learn_of_where_each_spectrum_has_its_zero(
    database: Any, line: type[LineHead]
) -> None:
    freeze(database)
    made(TrainMaker(head="line"), "cu")
    rows = line.fits[0][0]
    assert rows.edges is not None
    start = DatasetStore(database).get("cu").grid.start
    assert rows.edges == pytest.approx(8990 + 2 * rows.features[:, 0] - start)
    assert dict(rows.blocks) == {"lattice": 3}


# ---- several elements, and a parent


def test_a_universal_model_has_a_grid_and_a_score_for_each_element(
    database: Any, line: type[LineHead]
) -> None:
    freeze(database)
    nickel(database)
    outcome = made(TrainMaker(head="line", model="all"), ["cu", "ni"])
    model = stored_model(database, "all")
    card = model.card
    assert (card.absorber, card.absorbers, card.inputs) == ("Cu,Ni", ["Cu", "Ni"], {"element": 1})
    assert model.energies_of("Cu")[0] == 8983.173
    assert model.energies_of("Ni")[0] == 8332.181
    assert [each.rows for each in card.learned_from] == [9, 8]
    assert sorted(set(line.fits[0][0].features[:, 3])) == [28.0, 29.0]
    assert {"Cu_val_eta", "Ni_val_eta", "Ni_val_curated_eta"} <= set(outcome.metrics)
    maker = EvaluateMaker()
    judged = maker.make.original(maker, "all", "ni")
    assert judged.metrics["eta"].value == pytest.approx(outcome.metrics["Ni_val_eta"].value)
    with pytest.raises(ModelError, match="several data sets: name one"):
        maker.make.original(maker, "all")
    with pytest.raises(ModelError, match="cannot predict Ti"):
        model.like("Ti")


def test_a_model_fine_tuned_from_a_universal_one_has_its_inputs_and_names_it(
    database: Any, line: type[LineHead]
) -> None:
    freeze(database)
    nickel(database)
    made(TrainMaker(head="line", model="all"), ["cu", "ni"])
    parent = stored_model(database, "all")
    # Head and features are the parent's, whatever the maker says.
    outcome = made(TrainMaker(model="cu-tuned", featurizer="chgnet"), "cu", parent="all")
    rows, started_from, _ = line.fits[-1]
    card = ModelStore(database).card("cu-tuned")
    assert outcome.parent == card.parent == parent.card.model_id
    assert started_from.to_bytes() == parent.head.to_bytes()
    assert (card.head, card.inputs, card.absorber) == ("line", {"element": 1}, "Cu")
    assert set(rows.features[:, 3]) == {29.0}
    assert card.metrics["val_eta"].value > 1


def test_no_material_that_another_data_set_or_a_parent_taught_is_judged_on(
    two_codes: Any, line: type[LineHead]
) -> None:
    query = SpectrumQuery(absorber="Cu", code="vasp")
    learned = [row.label for row in _rows_of(two_codes, "feff", "train")]
    other = [row.label for row in _rows_of(two_codes, "feff", "val")]
    # What is trained on by one code is kept from the other, and the other way round but for one.
    labels = {"train": [*other, learned[0]], "val": learned[1:]}
    split = Split(kind="labels", labels=labels)
    freeze_dataset(two_codes, "crossed", query, split=split, aligned_to="feff")
    both = made(TrainMaker(head="line", model="both"), ["feff", "crossed"])
    assert not {"Cu_feff_val_eta", "Cu_vasp_val_eta"} & set(both.metrics)
    maker = EvaluateMaker(part="val")
    for name in ("feff", "crossed"):
        with pytest.raises(ModelError, match="learned all materials of the part 'val'"):
            maker.make.original(maker, "both", name)
    made(TrainMaker(head="line", model="parent"), "feff")
    tuned = made(TrainMaker(model="tuned"), "vasp", parent="parent")
    seen = {row.group for row in _rows_of(two_codes, "feff", "train")}
    val = _rows_of(two_codes, "vasp", "val")
    fresh = [row for row in val if row.group not in seen]
    judged = tuned.metrics.get("val_spectra")
    assert (0 if judged is None else judged.value) == len(fresh)
    if fresh:
        outcome = maker.make.original(maker, "tuned", "vasp")
        assert outcome.left_aside == [row.label for row in val if row not in fresh]


def _rows_of(database: Any, name: str, part: str) -> list[DatasetRow]:
    dataset = DatasetStore(database).get(name)
    return [dataset.rows[number] for number in dataset.split.get(part, [])]


def test_data_sets_that_do_not_go_together_are_refused(database: Any) -> None:
    freeze(database)
    with pytest.raises(DatasetError, match="both of Cu by feff"):
        made(TrainMaker(), ["cu", "cu"])
    nickel(database)
    query = SpectrumQuery(absorber="Ni")
    freeze_dataset(database, "short", query, grid=GridDoc(start=8340.0, step=0.5, points=40))
    with pytest.raises(DatasetError, match="differ in their step"):
        made(TrainMaker(), ["cu", "short"])


# ---- another code's spectrum


@pytest.fixture
def two_codes(database: Any) -> Any:
    """FEFF of twelve sites, and another code's spectra of the first nine, 120 eV lower."""
    add(
        database,
        *(
            record(f"mp-{i}", round(4.0 + 0.05 * i, 3), code="vasp", zero=-120, strange=0.02 * i)
            for i in range(9)
        ),
    )
    freeze(database, "feff")
    query = SpectrumQuery(absorber="Cu", code="vasp")
    freeze_dataset(database, "vasp", query, split=SPLIT, aligned_to="feff")
    return database


def test_the_computed_spectrum_of_another_code_is_an_input(
    two_codes: Any, line: type[LineHead]
) -> None:
    outcome = made(TrainMaker(head="line", model="v"), "vasp", given=Given(dataset="feff"))
    rows = line.fits[0][0]
    assert dict(rows.blocks) == {"lattice": 3, "spectrum:feff": 141}
    frozen = DatasetStore(two_codes).get("vasp")
    feff = DatasetStore(two_codes).get("feff")
    computed = targets_of(two_codes, feff)
    by_site = {row.site: computed[number] for number, row in enumerate(feff.rows)}
    sites = [frozen.rows[number].site for number in frozen.split["train"]]
    assert np.array_equal(rows.features[:, 3:], np.array([by_site[site] for site in sites]))
    maker = EvaluateMaker()
    judged = maker.make.original(maker, "v")
    said = outcome.metrics["val_mean_mse"].value
    assert judged.metrics["mean_mse"].value == pytest.approx(said, abs=1e-9)
    with pytest.raises(ModelError, match="takes the feff spectrum of each site as an input"):
        stored_model(two_codes, "v").inputs_for(rows.features[:, :3], "Cu")


def test_a_predicted_spectrum_is_an_input_as_if_its_site_had_been_left_out(
    two_codes: Any, line: type[LineHead], tmp_path: Path
) -> None:
    made(TrainMaker(model="low"), "feff")
    made(TrainMaker(head="line", model="v"), "vasp", given=Given(model="low"))
    rows = line.fits[0][0]
    low = stored_model(two_codes, "low")
    kept = ModelStore(two_codes).left_out(low.card)
    assert kept is not None
    numbers, found = from_bytes(kept)[0]
    feff, vasp = (DatasetStore(two_codes).get(name) for name in ("feff", "vasp"))
    left_out = {feff.rows[n].site: m for n, m in zip(numbers, found.mean, strict=True)}
    seen = 0
    for number, inputs in zip(vasp.split["train"], rows.features[:, 3:], strict=True):
        site = vasp.rows[number].site
        if site in left_out:
            seen += 1
            assert np.array_equal(inputs, left_out[site])
    assert seen > 3
    # The exported folder has both models, and predicts from features alone.
    store = ModelStore(two_codes)
    folder = save_folder(tmp_path / "m", *store.get("v"), [store.get("low")])
    features = np.array([[4.17, 29.0, 1.0]])
    here, there = stored_model(two_codes, "v"), load_model(folder)
    assert np.array_equal(here.inputs_for(features, "Cu"), there.inputs_for(features, "Cu"))
    assert here.inputs_for(features, "Cu")[0, 3:] == pytest.approx(
        low.head.predict(features).mean[0]
    )
    (folder / "input" / "card.json").unlink()
    with pytest.raises(ModelError, match=r"card\.json"):
        load_model(folder)


def test_two_codes_at_once_are_told_apart_by_a_number(two_codes: Any, line: type[LineHead]) -> None:
    made(TrainMaker(head="line", model="both"), ["feff", "vasp"])
    card = ModelStore(two_codes).card("both")
    assert (card.inputs, card.fidelities) == ({"fidelity": 1}, ["feff fast@1", "vasp fast@1"])
    assert set(line.fits[0][0].features[:, 3]) == {0.0, 1.0}
    model = stored_model(two_codes, "both")
    features = np.array([[4.1, 29.0, 1.0]])
    assert model.inputs_for(features, "Cu", code="feff")[0, 3] == 0.0
    assert model.inputs_for(features, "Cu")[0, 3] == 1.0
    assert {"Cu_feff_val_eta", "Cu_vasp_val_eta"} <= set(card.metrics)
    assert LatticeFeaturizer.calls == 12


def test_two_protocols_of_one_code_keep_their_own_figures_and_error_bars(database: Any) -> None:
    slow = "slow+radius=4.0"
    for i in range(12):
        one = record(f"mp-{i}", round(4.0 + 0.05 * i, 3), strange=0.1 * (i % 3), code="vasp")
        assert one.spectrum is not None
        one.spectrum.protocol = one.calculation.protocol = slow
        add(database, one)
    quick = SpectrumQuery(absorber="Cu", code="feff")
    for name, query in (("a", quick), ("b", SpectrumQuery(absorber="Cu", code="vasp"))):
        freeze_dataset(database, name, query, split=SPLIT)
    # Of the same code, as the database of somebody else would have them.
    frozen = DatasetStore(database).get("b")
    assert frozen.protocol == slow
    a, b = DatasetStore(database).get("a"), frozen.model_copy(update={"code": "feff"})
    sets = [training_set(each, 1) for each in (a, b)]
    assert figures_prefix(sets, a) == "Cu_feff_fast@1_"
    assert figures_prefix(sets, b) == "Cu_feff_slow+radius=4_0_"
    assert figures_prefix([training_set(each, 1) for each in (a, frozen)], a) == "Cu_feff_"
    made(TrainMaker(model="two"), ["a", "b"])
    model = stored_model(database, "two")
    bars = [model.reliability_on(each) for each in (a, frozen)]
    assert bars[0] is model.reliability[sets[0].label]
    assert bars[1] is model.reliability_of("Cu")
    assert bars[0] is not bars[1]
