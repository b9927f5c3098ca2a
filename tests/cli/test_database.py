"""`up`, `down`, `status` and `doctor` tell the truth, whatever is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from nearedge.codes import code_names, get_code
from nearedge.codes.base import Availability
from nearedge.codes.feff import FEFF
from nearedge.errors import WeightsError
from nearedge.launch.fireworks import SPEC_KEY, ensure_launchpad_indexes, launchpad
from nearedge.settings import get_settings

from .conftest import Command


def test_status_of_a_database_that_is_down_succeeds_and_says_down(nearedge: Command) -> None:
    said = nearedge("status", "--json")
    assert said.code == 0
    assert said.json["state"] == "down"
    assert "nearedge up" in said.json["detail"]
    assert nearedge("status").out.startswith("Database: down")


def test_status_says_down_for_a_mongodb_that_nobody_answers_at(
    nearedge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEAREDGE_MONGO_URI", "mongodb://user:secret@127.0.0.1:9/")
    monkeypatch.setenv("NEAREDGE_DATABASE_TIMEOUT", "0.2")
    said = nearedge("status", "--json")
    assert said.code == 0
    assert said.json["state"] == "down"
    assert "secret" not in said.out + said.err


def test_a_verb_that_needs_the_database_fails_when_it_is_down(nearedge: Command) -> None:
    for verb in (("query",), ("run",), ("models", "list"), ("dataset", "list")):
        said = nearedge(*verb)
        assert (said.code, said.out) == (1, "")
        assert "nearedge up" in said.err


def test_down_where_nothing_runs_is_no_error(nearedge: Command) -> None:
    assert nearedge("down").code == 0


@pytest.mark.integration
def test_up_twice_then_down(nearedge: Command, home: Path) -> None:
    first = nearedge("up")
    try:
        assert first.code == 0, first.err
        assert "trying out" in first.err
        assert nearedge("up").out.startswith("Already up.")
        status = nearedge("status", "--json").json
        assert (status["state"], status["queue"], status["failures"]) == ("up", {}, [])
    finally:
        assert nearedge("down").code == 0
    assert nearedge("status", "--json").json["state"] == "down"


def test_doctor_names_what_is_missing_and_how_to_get_it(
    nearedge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_weights(name: str, *, model_path: Path | None) -> None:
        raise WeightsError("No weights.")

    monkeypatch.setattr("nearedge.models.featurizers.load_featurizer", no_weights)
    missing = Availability(False, "feff10-rs is not installed", "pip install feff10-rs")
    monkeypatch.setattr(FEFF, "availability", lambda: missing)
    monkeypatch.setenv("NEAREDGE_PW_COMMAND", "no-such-pw.x")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = nearedge("doctor", "--json")
    checks = {check["name"]: check for check in said.json}
    assert said.code == 1
    assert checks["FEFF 10"]["level"] == "missing"
    assert "pip install" in checks["FEFF 10"]["remedy"]
    assert {get_code(name).title for name in code_names()} <= checks.keys()
    assert checks["VASP"]["level"] == "note"
    assert "NEAREDGE_VASP_COMMAND" in checks["VASP"]["remedy"]
    assert checks["M3GNet weights"]["level"] == "note"
    assert checks["database"]["remedy"] == "nearedge up"


def test_doctor_says_which_setting_is_wrong(
    nearedge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEAREDGE_WORKERZ", "3")
    said = nearedge("doctor", "--json")
    assert said.code == 1
    assert "NEAREDGE_WORKERZ" in said.json[0]["detail"]


@pytest.mark.usefixtures("ready")
@pytest.mark.integration
def test_status_says_why_jobs_fizzled_and_which_verb_tries_again(nearedge: Command) -> None:
    pad = launchpad(get_settings())
    ensure_launchpad_indexes(pad)
    trace = "Traceback (most recent call last):\n  File x\nKeyError: 'Fermi'\n"
    for number, about in enumerate(({"kind": "site", "label": "rutile Ti0 K"}, {"kind": "x"})):
        launch = {"launch_id": number, "fw_id": number, "state": "FIZZLED", "action": {
            "stored_data": {"_exception": {"_stacktrace": trace}}}}  # fmt: skip
        pad.launches.insert_one(launch)
        pad.fireworks.insert_one(
            {"fw_id": number, "state": "FIZZLED", "launches": [number], "spec": {SPEC_KEY: about}}
        )
    said = nearedge("status")
    assert "rutile Ti0 K: KeyError: 'Fermi'" in said.out
    assert said.err == (
        "Ended without a named failure: 2 jobs; `nearedge rerun` tries a group of `nearedge "
        "failures` again, the command that queued them all: `nearedge submit`.\n"
    )
