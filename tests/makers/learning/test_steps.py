"""Featurize, freeze, train, evaluate, predict: each step keeps its promise, and so do all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder

from nearedge.errors import DatabaseError, DatasetError, ModelError
from nearedge.makers.learning.evaluate import EvaluateMaker, EvaluateOutcome, evaluate_model
from nearedge.makers.learning.featurize import FeaturizeMaker, featurize_structures
from nearedge.makers.learning.freeze import FreezeMaker, freeze_dataset
from nearedge.makers.learning.grids import choose_grid
from nearedge.makers.learning.plan import plan_training
from nearedge.makers.learning.predict import open_model, predict_structures, stored_model
from nearedge.makers.learning.splits import Split
from nearedge.makers.learning.targets import targets_of
from nearedge.makers.learning.train import TrainMaker, train_once
from nearedge.models.registry import save_folder
from nearedge.models.trained import TrainedModel
from nearedge.schemas import GridDoc
from nearedge.schemas.document import content_hash
from nearedge.settings import get_settings
from nearedge.spectra.grid import omnixas_grid
from nearedge.spectra.spectrum import AbsorptionUnit, Spectrum
from nearedge.store.features import FeatureStore
from nearedge.store.learned import DatasetStore, ModelStore
from nearedge.store.queries import SpectrumQuery
from nearedge.workflows import learn
from nearedge.workflows.learn import LearnFlowMaker

from .copper import MATERIALS, QUERY, LatticeFeaturizer, add, crystal, keys, record

RECORDED = Path(__file__).parents[2] / "recorded" / "launch" / "learning_jobs.json"

# ---- featurize


def test_features_are_computed_once(database: Any) -> None:
    first = featurize_structures(database, LatticeFeaturizer(), keys(database))
    again = featurize_structures(database, LatticeFeaturizer(), keys(database))
    assert (first.computed, first.known) == (MATERIALS, 0)
    assert (again.computed, again.known) == (0, MATERIALS)
    assert LatticeFeaturizer.calls == MATERIALS
    stored = FeatureStore(database).get(keys(database)[0], LatticeFeaturizer.ref)
    assert stored is not None
    assert stored.shape == (8, 3)


def test_one_structure_that_the_featurizer_refuses_stops_no_other(database: Any) -> None:
    add(database, record("mp-99", 6.0, "Po"))
    outcome = featurize_structures(database, LatticeFeaturizer(), keys(database))
    assert outcome.computed == MATERIALS
    assert [(r.label, r.reason) for r in outcome.refused] == [("mp-99", "It does not know Po.")]


def test_parts_of_a_featurize_job_cover_every_structure_once(database: Any) -> None:
    makers = [FeaturizeMaker(part=part, parts=5) for part in range(5)]
    outcomes = [maker.make.original(maker, query=QUERY) for maker in makers]
    assert sum(o.computed for o in outcomes) == MATERIALS
    assert all(o.known == 0 for o in outcomes)


def test_a_structure_that_is_not_stored_is_named(database: Any) -> None:
    with pytest.raises(DatabaseError, match="no structure nonsense"):
        featurize_structures(database, LatticeFeaturizer(), ["nonsense"])


# ---- freeze


def test_a_frozen_row_is_the_spectrum_on_the_grid_in_the_unit(database: Any) -> None:
    outcome = freeze_dataset(database, "cu", QUERY)
    dataset = DatasetStore(database).get("cu")
    grid = omnixas_grid("Cu")
    assert dataset.grid == GridDoc(start=grid.start, step=0.25, points=141)
    assert dataset.unit is AbsorptionUnit.MILLIBOHR2
    assert outcome.parts == {"train": MATERIALS}
    values = targets_of(database, dataset)
    row = next(i for i, r in enumerate(dataset.rows) if r.label == "mp-3_000")
    spectrum = record("mp-3", 4.15).spectrum
    assert spectrum is not None
    energy, absorption = np.array(spectrum.energy), np.array(spectrum.absorption)
    inside = (energy >= grid.start) & (energy <= grid.stop)  # as the authors of OmniXAS read them
    expected = np.interp(grid.energies, energy[inside], absorption[inside])
    assert values[row] == pytest.approx(expected * 2e-4 / 0.529177210903**2 * 1000)
    assert dataset.rows[row].group == "mp-3"


def test_freezing_the_same_twice_gives_the_same_id_and_another_split_another(
    database: Any,
) -> None:
    first = freeze_dataset(database, "cu", QUERY)
    assert freeze_dataset(database, "cu", QUERY).dataset_id == first.dataset_id
    split = Split(kind="random", seed=1)
    assert freeze_dataset(database, "cu", QUERY, split=split).dataset_id != first.dataset_id
    assert len(DatasetStore(database).list()) == 2


def test_rows_are_by_formula_as_in_every_release(database: Any) -> None:
    """The id of a data set hangs on their order, which is not that of a listing."""
    keys = sorted(each["structure_key"] for each in database["spectra"].find(QUERY.filter()))
    for number, key in enumerate(keys):
        formula = f"Cu{len(keys) - number:02d}"
        database["spectra"].update_many({"structure_key": key}, {"$set": {"formula": formula}})
    freeze_dataset(database, "cu", QUERY)
    rows = DatasetStore(database).get("cu").rows
    assert [row.structure_key for row in rows] == keys[::-1]


def test_spectra_of_two_parameter_sets_do_not_mix(database: Any) -> None:
    add(database, record("mp-50", 5.0, radius=9.0))
    with pytest.raises(DatasetError, match="one parameters_id, and 2 answer"):
        freeze_dataset(database, "cu", QUERY)


def test_a_query_that_nothing_answers_says_so(database: Any) -> None:
    with pytest.raises(DatasetError, match=r"No site spectrum answers .*'Fe'"):
        freeze_dataset(database, "fe", SpectrumQuery(absorber="Fe"))


def test_a_spectrum_that_does_not_fit_is_left_out_with_its_reason(database: Any) -> None:
    add(database, record("mp-70", 5.0, start=9100.0))
    add(database, record("mp-71", 5.1, normalization=None))
    outcome = freeze_dataset(database, "cu", QUERY)
    assert outcome.parts == {"train": MATERIALS}
    assert "covers less than half" in outcome.left_out["mp-70_000"]
    assert "no normalisation" in outcome.left_out["mp-71_000"]


def test_a_spectrum_changed_after_freezing_is_noticed(database: Any) -> None:
    freeze_dataset(database, "cu", QUERY)
    dataset = DatasetStore(database).get("cu")
    stored = database["spectra"].find_one({"_id": dataset.rows[0].spectrum_id})
    changed = [value * 1.01 for value in stored["absorption"]]
    database["spectra"].update_one({"_id": stored["_id"]}, {"$set": {"absorption": changed}})
    with pytest.raises(DatasetError, match="not those that were frozen"):
        targets_of(database, dataset)


@pytest.mark.parametrize("unit", [AbsorptionUnit.MILLIBOHR2, AbsorptionUnit.ANGSTROM2])
def test_a_change_of_one_value_is_noticed_by_whoever_reads_any_row(
    database: Any, unit: AbsorptionUnit
) -> None:
    freeze_dataset(database, "cu", QUERY, unit=unit)
    dataset = DatasetStore(database).get("cu")
    stored = database["spectra"].find_one({"_id": dataset.rows[0].spectrum_id})
    changed = list(stored["absorption"])
    changed[40] *= 1 + 1e-6
    database["spectra"].update_one({"_id": stored["_id"]}, {"$set": {"absorption": changed}})
    with pytest.raises(DatasetError, match="not those that were frozen"):
        targets_of(database, dataset, [5])


def test_a_spectrum_that_is_gone_is_named(database: Any) -> None:
    freeze_dataset(database, "cu", QUERY)
    dataset = DatasetStore(database).get("cu")
    database["spectra"].delete_one({"_id": dataset.rows[4].spectrum_id})
    with pytest.raises(DatasetError, match=dataset.rows[4].label):
        targets_of(database, dataset)


def test_refused_structures_are_left_out_of_the_data_set(database: Any) -> None:
    add(database, record("mp-99", 6.0, "Po"))
    features = featurize_structures(database, LatticeFeaturizer(), keys(database))
    maker = FreezeMaker(dataset="cu")
    outcome = maker.make.original(maker, QUERY, featurized=[features])
    assert outcome.parts == {"train": MATERIALS}
    assert outcome.left_out == {"mp-99_000": "It does not know Po."}


def test_a_row_says_its_formula_and_the_edge_that_the_code_states(database: Any) -> None:
    freeze_dataset(database, "cu", QUERY)
    row = next(r for r in DatasetStore(database).get("cu").rows if r.label == "mp-3_000")
    assert (row.formula, row.edge_energy) == ("CuO", pytest.approx(8994.15))
    assert row.zero == pytest.approx(8990 + 2 * 4.15)


def test_outliers_are_marked_by_the_training_part_and_kept(database: Any) -> None:
    add(database, record("mp-80", 4.31, strange=0.8))
    train = [f"mp-{i}_000" for i in range(MATERIALS) if i not in (5, 6)]
    labels = {"train": train, "val": ["mp-80_000", "mp-5_000"]}
    outcome = freeze_dataset(database, "cu", QUERY, split=Split(kind="labels", labels=labels))
    dataset = DatasetStore(database).get("cu")
    assert (outcome.outliers, outcome.parts) == (1, {"train": 10, "val": 2})
    assert [row.label for row in dataset.rows if row.outlier] == ["mp-80_000"]
    assert dataset.outlier_sigma == 2.5
    values = targets_of(database, dataset)
    learned = values[dataset.split["train"]]
    band = 2.5 * learned.std(axis=0)
    beyond = (np.abs(values - learned.mean(axis=0)) > band).any(axis=1)
    assert [row.outlier for row in dataset.rows] == beyond.tolist()
    split = Split(kind="labels", labels=labels)
    none = freeze_dataset(database, "unmarked", QUERY, split=split, outlier_sigma=0)
    assert (none.outliers, none.dataset_id != outcome.dataset_id) == (0, True)
    assert len(targets_of(database, DatasetStore(database).get("unmarked"))) == 12


def test_a_data_set_of_an_older_release_still_has_its_id(database: Any) -> None:
    freeze_dataset(database, "cu", QUERY, outlier_sigma=0)
    dataset = DatasetStore(database).get("cu")
    nothing = {"edge_energy": None, "fermi_energy": None, "formula": ""}
    bare = [row.model_copy(update=nothing) for row in dataset.rows]
    values = targets_of(database, dataset)
    # As it was hashed before rows had edges and marks.
    before = content_hash(
        [
            [[row.spectrum_id, row.group] for row in bare],
            dataset.split,
            dataset.grid.model_dump(),
            str(dataset.unit),
            hashlib.sha256((np.round(values, 10) + 0.0).astype("<f8").tobytes()).hexdigest(),
        ]
    )
    old = dataset.model_copy(update={"rows": bare, "dataset_id": before})
    assert np.array_equal(targets_of(database, old), values)


def test_another_codes_grid_is_moved_to_where_its_spectra_rise(database: Any) -> None:
    add(database, *(record(f"mp-{i}", 4.0 + 0.05 * i, code="vasp", zero=-120) for i in range(5)))
    feff = freeze_dataset(database, "feff", SpectrumQuery(absorber="Cu", code="feff"))
    query = SpectrumQuery(absorber="Cu", code="vasp")
    vasp = freeze_dataset(database, "vasp", query, aligned_to="feff")
    # The reference is read at steps of 0.25 eV, this one at 0.4 eV: no closer than those.
    assert vasp.grid.start == pytest.approx(feff.grid.start - 120, abs=0.4)
    assert (vasp.grid.step, vasp.grid.points) == (feff.grid.step, feff.grid.points)
    assert DatasetStore(database).get("vasp").outlier_sigma == 5.0


def test_a_grid_begins_before_the_rise_where_spectra_begin_long_before() -> None:
    energy = np.arange(-60.0, 60.0, 0.25)
    spectrum = Spectrum(energy, 1 / (1 + np.exp(-energy)))
    assert choose_grid("Ca", "K", [spectrum]).start == pytest.approx(-15.75)


def test_an_element_without_a_published_grid_gets_one_where_its_spectra_are() -> None:
    energy = np.arange(4038.0, 4100.0, 0.3)
    grid = choose_grid("Ca", "K", [Spectrum(energy, np.ones_like(energy))] * 3)
    assert grid == GridDoc(start=4038.0, step=0.25, points=141)


def test_a_published_grid_that_the_spectra_miss_is_not_used() -> None:
    energy = np.arange(9010.0, 9100.0, 0.3)
    assert choose_grid("Cu", "K", [Spectrum(energy, np.ones_like(energy))]).start == 9010.0


# ---- splits


def test_authors_files_choose_rows_and_parts(database: Any, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("mp-0_000\nmp-2_000\nmp-4_000\n\n")
    (tmp_path / "val.txt").write_text("mp-1_000\nmp-77_003\n")
    split = Split.from_files({"train": tmp_path / "train.txt", "val": tmp_path / "val.txt"})
    outcome = freeze_dataset(database, "cu", QUERY, split=split)
    assert outcome.parts == {"train": 3, "val": 1}
    assert outcome.missing == ["mp-77_003"]
    dataset = DatasetStore(database).get("cu")
    assert {dataset.rows[i].label for i in dataset.split["val"]} == {"mp-1_000"}


def test_a_label_in_two_parts_is_refused(database: Any) -> None:
    split = Split(kind="labels", labels={"train": ["mp-0_000"], "val": ["mp-0_000"]})
    with pytest.raises(DatasetError, match="mp-0_000 in train and in val"):
        freeze_dataset(database, "cu", QUERY, split=split)


def test_an_empty_split_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("\n")
    with pytest.raises(DatasetError, match="names no row"):
        Split.from_files({"val": tmp_path / "val.txt"})


def test_a_random_split_hangs_on_its_seed_alone(database: Any) -> None:
    def parts(seed: int) -> dict[str, Sequence[int]]:
        split = Split(kind="random", validation=0.25, test=0.25, seed=seed)
        outcome = freeze_dataset(database, f"cu{seed}", QUERY, split=split)
        return dict(DatasetStore(database).get(outcome.dataset_id).split)

    assert parts(3) == parts(3)
    assert parts(3) != parts(4)
    assert {part: len(rows) for part, rows in parts(3).items()} == {"train": 6, "val": 3, "test": 3}


def test_one_structure_under_several_names_is_one_material(database: Any) -> None:
    # mp-3 once more as a file, and that file's structure under a second published id.
    again = [("mine/rock-salt.cif", "mine"), ("mp-99", "theirs")]
    for number, (label, project) in enumerate(again, start=1):
        add(database, record(label, 4.15 + 1e-5 * number, project=project))
    rows = DatasetStore(database).get(freeze_dataset(database, "cu", QUERY).dataset_id).rows
    same = {row.structure_id for row in rows if row.label == "mp-3_000"}
    assert [row.group for row in rows if row.structure_id in same] == ["mp-3"] * 3
    labels = {"train": ["mp-3_000", "mp-4_000"], "val": ["mp-99_000"]}
    with pytest.raises(DatasetError, match=r"material mp-3 is in .*\(mp-99_000\)"):
        freeze_dataset(database, "cu2", QUERY, split=Split(kind="labels", labels=labels))


# ---- train, evaluate, predict


@pytest.fixture
def learned(database: Any) -> TrainedModel:
    split = Split(kind="random", validation=0.25, test=0.0, seed=0)
    freeze_dataset(database, "cu", QUERY, split=split)
    featurize_structures(database, LatticeFeaturizer(), keys(database))
    dataset = DatasetStore(database).get("cu")
    train_once(database, plan_training(database, [dataset], LatticeFeaturizer()), "cu")
    return stored_model(database, "cu")


def test_a_trained_model_is_stored_with_what_it_came_from(
    database: Any, learned: TrainedModel
) -> None:
    card = learned.card
    assert card.dataset_id == DatasetStore(database).get("cu").dataset_id
    assert (card.absorber, card.edge, card.protocol) == ("Cu", "K", "fast@1")
    assert card.featurizer == LatticeFeaturizer.ref
    assert card.training_rows == 9
    assert card.metrics["cv_eta"].value > 2
    assert card.metrics["val_eta"].value > 2
    assert card.metrics["val_spectra"].value == 3


def test_evaluating_again_gives_the_figures_of_the_card(
    database: Any, learned: TrainedModel
) -> None:
    dataset = DatasetStore(database).get("cu")
    outcome = evaluate_model(database, learned, dataset, LatticeFeaturizer())
    assert outcome.part == "val"
    assert outcome.metrics["eta"].value == pytest.approx(learned.card.metrics["val_eta"].value)


def test_a_part_that_is_not_there_is_refused(database: Any, learned: TrainedModel) -> None:
    dataset = DatasetStore(database).get("cu")
    with pytest.raises(DatasetError, match="no part 'test', only"):
        evaluate_model(database, learned, dataset, LatticeFeaturizer(), part="test")


def test_a_model_is_not_judged_on_what_it_learned_from(
    database: Any, learned: TrainedModel
) -> None:
    dataset = DatasetStore(database).get("cu")
    with pytest.raises(ModelError, match="learned from the part 'train'"):
        evaluate_model(database, learned, dataset, LatticeFeaturizer(), part="train")


def test_rows_that_the_featurizer_refuses_are_left_out_and_named(database: Any) -> None:
    add(database, record("mp-99", 6.0, "Po"))
    freeze_dataset(database, "with polonium", QUERY)
    maker = TrainMaker(model="cu")
    outcome = maker.make.original(maker, "with polonium")
    assert outcome.training_rows == MATERIALS
    assert outcome.without_features == ["mp-99_000"]
    assert ModelStore(database).card("cu").hyperparameters["rows_without_features"] == 1


def test_a_data_set_in_another_unit_is_refused(database: Any, learned: TrainedModel) -> None:
    split = Split(kind="random", seed=5)
    outcome = freeze_dataset(database, "other", QUERY, split=split, unit=AbsorptionUnit.NORMALIZED)
    dataset = DatasetStore(database).get(outcome.dataset_id)
    with pytest.raises(ModelError, match="trained for the unit"):
        evaluate_model(database, learned, dataset, LatticeFeaturizer())


def test_a_registered_and_an_exported_model_predict_the_same(
    database: Any, learned: TrainedModel, tmp_path: Path
) -> None:
    folder = save_folder(tmp_path / "model", *ModelStore(database).get("cu"))
    structures = [crystal(4.33), crystal(4.11)]
    here = predict_structures(open_model("cu"), structures, ["b", "a"])
    there = predict_structures(open_model(str(folder)), structures, ["b", "a"])
    assert here == there
    assert [answer.structure for answer in here] == ["b", "a"]


def test_a_path_without_a_model_is_refused_and_not_looked_up(database: Any) -> None:
    with pytest.raises(ModelError, match="no folder that a model was exported to"):
        open_model("models/none")


def test_a_training_set_of_one_spectrum_is_refused(database: Any) -> None:
    split = Split(kind="labels", labels={"train": ["mp-0_000"]})
    freeze_dataset(database, "one", QUERY, split=split)
    maker = TrainMaker()
    with pytest.raises(ModelError, match="at least two spectra"):
        maker.make.original(maker, "one")


# ---- the flow


def test_the_learn_flow_goes_from_spectra_to_a_judged_model(database: Any) -> None:
    maker = LearnFlowMaker(
        freeze_maker=FreezeMaker(dataset="cu", split=Split(kind="random", validation=0.25)),
        featurize_jobs=3,
    )
    flow = maker.make(QUERY)
    store = JobStore(MemoryStore())
    outputs = run_locally(flow, store=store, ensure_success=True, log=False)
    last = outputs[flow.jobs[-1].uuid][1].output
    assert last.part == "val"
    assert last.metrics["eta"].value > 1
    card = ModelStore(database).card("cu")
    assert last.model_id == card.model_id
    # Again: nothing is computed twice and nothing is stored twice.
    calls = LatticeFeaturizer.calls
    run_locally(maker.make(QUERY), store=store, ensure_success=True, log=False)
    assert LatticeFeaturizer.calls == calls
    assert len(ModelStore(database).list()) == 1
    assert len(DatasetStore(database).list()) == 1


def test_a_flow_stored_under_the_modules_of_before_runs_to_its_judged_model(database: Any) -> None:
    stored = json.loads(RECORDED.read_text())
    names = ("featurize", "freeze", "train", "evaluate")
    jobs = [MontyDecoder().process_decoded(job) for job in stored if job["name"] in names]
    outputs = run_locally(Flow(jobs), store=JobStore(MemoryStore()), ensure_success=True, log=False)
    last = outputs[jobs[-1].uuid][1].output
    assert last.model_id == ModelStore(database).card("cu").model_id
    assert last.metrics["spectra"].value == MATERIALS / 4


def test_without_held_out_rows_evaluation_reports_materials_left_out(database: Any) -> None:
    maker = LearnFlowMaker(freeze_maker=FreezeMaker(dataset="all"))
    flow = maker.make(QUERY)
    outputs = run_locally(flow, store=JobStore(MemoryStore()), ensure_success=True, log=False)
    last = outputs[flow.jobs[-1].uuid][1].output
    assert last.part == "cv"
    assert last.metrics["spectra"].value == MATERIALS
    assert EvaluateMaker().part is None


def test_of_several_elements_a_universal_model_is_judged_on_each(database: Any) -> None:
    add(
        database,
        *(record(f"mp-{200 + i}", 3.8 + 0.05 * i, absorber="Ni", zero=-651.0) for i in range(9)),
    )
    split = Split(kind="random", validation=0.25)
    flow = LearnFlowMaker(
        freeze_maker=FreezeMaker(dataset="oxides", split=split), featurize_jobs=2
    ).make([QUERY, SpectrumQuery(absorber="Ni")])
    outputs = run_locally(flow, store=JobStore(MemoryStore()), ensure_success=True, log=False)
    assert {dataset.name for dataset in DatasetStore(database).list()} == {"oxides-Cu", "oxides-Ni"}
    card = ModelStore(database).card("oxides")
    assert card.absorbers == ["Cu", "Ni"]
    judged = [outputs[job.uuid][1].output for job in flow.jobs[-2:]]
    for outcome, element in zip(judged, ("Cu", "Ni"), strict=True):
        assert outcome.part == "val"
        assert outcome.metrics["spectra"] == card.metrics[f"{element}_val_spectra"]
        assert outcome.metrics["eta"].value == pytest.approx(
            card.metrics[f"{element}_val_eta"].value
        )


def test_after_new_spectra_the_verdicts_on_the_newest_data_set_are_shown(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    feff, vasp = (SpectrumQuery(absorber="Cu", code=code) for code in ("feff", "vasp"))
    before = freeze_dataset(database, "cu", feff)
    add(database, record("mp-60", 5.5), record("mp-60", 5.5, code="vasp"))
    after = freeze_dataset(database, "cu", feff)
    other = freeze_dataset(database, "other", vasp)
    newest_first = [
        EvaluateOutcome(model_id="m", name="cu", dataset_id=each.dataset_id, part="cv", metrics={})
        for each in (other, after, before)
    ]
    monkeypatch.setattr(learn, "connect", lambda _: database)
    monkeypatch.setattr(
        learn, "outputs_of", lambda *_: [each.model_dump() for each in newest_first]
    )
    monkeypatch.setattr(
        "monty.json.MontyDecoder.process_decoded", lambda _, each: EvaluateOutcome(**each)
    )
    found = learn.learning_outcomes("id", get_settings())
    assert [each.dataset_id for each in found] == [after.dataset_id, other.dataset_id]


def test_the_name_that_stands_twice_is_told() -> None:
    nickel = SpectrumQuery(absorber="Ni")
    with pytest.raises(DatasetError, match="to learn from are cu-Ni:"):
        LearnFlowMaker(freeze_maker=FreezeMaker(dataset="cu")).make([QUERY, nickel, nickel])


@pytest.mark.parametrize("queries", [[], [QUERY, SpectrumQuery()], [QUERY, QUERY]])
def test_queries_that_cannot_be_told_apart_are_refused(queries: list[SpectrumQuery]) -> None:
    with pytest.raises(DatasetError, match="queries to learn from"):
        LearnFlowMaker().make(queries)
