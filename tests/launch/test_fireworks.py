"""Launchpad and job store come from the settings, keep secrets to themselves, and lose nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import jobflow
import pytest
from fireworks.core.launchpad import LaunchPad
from jobflow.core.store import JobStore
from jobflow.managers.fireworks import flow_to_workflow
from maggma.stores import JSONStore, MemoryStore

from nearedge.errors import LaunchError
from nearedge.launch.fireworks import (
    SPEC_KEY,
    configure_jobflow,
    ensure_launchpad_indexes,
    job_store,
    launchpad,
    refuse_memory_store,
)
from nearedge.settings import Settings
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.spectrum import SpectrumFlowMaker

SECRET = Settings(mongo_uri="mongodb://me:hunter2@127.0.0.1:1/?authSource=admin")  # type: ignore[arg-type]


def test_what_is_stored_of_a_workflow_names_no_host_and_no_password(
    molecule: Callable[[str], LoadedStructure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", jobflow.SETTINGS.JOB_STORE)
    configure_jobflow(SECRET)
    flow = SpectrumFlowMaker().make(molecule("CO").structure, "C")
    for firework in flow_to_workflow(flow).fws:
        stored = json.dumps(firework.to_db_dict(), default=str)
        assert "hunter2" not in stored
        assert "127.0.0.1" not in stored


def test_no_metadata_of_ours_changes_how_fireworks_schedules(
    molecule: Callable[[str], LoadedStructure],
) -> None:
    flow = SpectrumFlowMaker().make(molecule("CO").structure, "C")
    site, average = flow_to_workflow(flow).fws
    scheduling = {"_add_launchpad_and_fw_id", "_tasks"}
    assert set(site.to_dict()["spec"]) == {*scheduling, SPEC_KEY}
    assert set(average.to_dict()["spec"]) == {
        *scheduling,
        SPEC_KEY,
        "_allow_fizzled_parents",
        "_priority",
    }


def test_the_name_of_a_job_store_holds_no_password() -> None:
    store = job_store(SECRET)
    names = [store.name, store.docs_store.name, *(s.name for s in store.additional_stores.values())]
    assert not any("hunter2" in name for name in names)
    assert len(names) == 3


def test_outputs_and_queue_share_one_database_and_writes_are_journalled() -> None:
    store = job_store(SECRET)
    assert store.docs_store.database == SECRET.launchpad_database
    assert store.docs_store.mongoclient_kwargs["journal"] is True
    pad = launchpad(SECRET)
    assert pad.db.name == SECRET.launchpad_database
    assert pad.connection.write_concern.document["j"] is True


@pytest.mark.parametrize("lost", [MemoryStore(), JSONStore("outputs.json")])
def test_a_store_that_ends_with_the_process_is_refused(lost: MemoryStore) -> None:
    with pytest.raises(LaunchError, match="MemoryStore"):
        refuse_memory_store(JobStore(lost))


def test_a_store_in_the_database_is_accepted() -> None:
    refuse_memory_store(job_store(SECRET))


def test_the_counter_of_ids_survives_a_second_preparation(pad: LaunchPad) -> None:
    assert pad.get_new_fw_id() == 1
    ensure_launchpad_indexes(pad)
    assert pad.get_new_fw_id() == 2


@pytest.mark.integration
def test_indexes_may_be_ensured_again_on_the_embedded_server(live_settings: Settings) -> None:
    pad = launchpad(live_settings)
    for _ in range(2):
        ensure_launchpad_indexes(pad)
    assert f"spec.{SPEC_KEY}.calculation_id_1" in pad.fireworks.index_information()
