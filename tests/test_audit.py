"""The pinned packages are looked over: a version with a known weakness does not pass."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

CI = Path(__file__).resolve().parent.parent / ".ci"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", CI / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_is_known_against_what_is_pinned(
    audit: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main([]) == 0, capsys.readouterr().err


def test_every_weakness_of_the_list_is_found_in_an_older_version(audit: ModuleType) -> None:
    advisories = yaml.safe_load((CI / "advisories.yaml").read_text())
    older = sorted({f"{each['package']}==0.0.1" for each in advisories})
    found = audit.weaknesses(older, advisories)
    assert [each.split(" (")[0].split()[-1] for each in found] == [
        each["id"] for each in advisories
    ]
    fixed = [f"{each['package'].lower()}==9999.0" for each in advisories]
    assert audit.weaknesses(fixed, advisories) == []


def test_an_accepted_weakness_is_printed_with_its_reason_and_does_not_fail(
    audit: ModuleType,
) -> None:
    known = {"package": "x", "fixed": "2", "id": "CVE-1", "what": "this", "accepted": "no other"}
    assert audit.faults(["x==1"], [known]) == []
    assert "accepted, no other" in audit.weaknesses(["x==1"], [known])[0]
    del known["accepted"]
    assert len(audit.faults(["x==1"], [known])) == 1


def test_the_list_is_of_packages_that_are_pinned(audit: ModuleType) -> None:
    names = {each[0] for each in audit.pinned(audit.PINS.read_text().splitlines())}
    advisories = yaml.safe_load((CI / "advisories.yaml").read_text())
    assert {audit.canonicalize_name(each["package"]) for each in advisories} <= names


@pytest.mark.parametrize(
    "line",
    ["torch", "torch>=2", "git+https://example.org/x", "x @ https://example.org/x.whl", "-e ."],
)
def test_a_line_that_pins_no_version_is_a_fault(audit: ModuleType, line: str) -> None:
    assert len(audit.faults(["# said", "", line], [])) == 1


def test_ci_runs_it() -> None:
    assert "make audit" in (CI / "run").read_text()
