"""README and docs say what is so: commands, settings, fields and links are checked by the code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main

import nearedge
from nearedge.cli.app import app
from nearedge.schemas import CalculationDoc, DatasetDoc, ModelCard, SpectrumDoc, StructureDoc
from nearedge.schemas.benchmark import BenchmarkDoc
from nearedge.schemas.convergence import ConvergenceDoc
from nearedge.schemas.document import Document
from nearedge.schemas.relaxation import RelaxationDoc
from nearedge.schemas.styles import DescriptorsDoc, StylesDoc
from nearedge.settings import Settings

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md"), *CHECKOUT.glob("examples/*.md")]
)
README = CHECKOUT / "README.md"
DOCKERFILE = CHECKOUT / "docker" / "Dockerfile"


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Yield language and text of each fenced block."""
    yield from re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """Yield every shell command of a page, continued lines joined, as words."""
    for language, text in blocks(page):
        if language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    yield words


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that a line calls, through groups, and the words that follow."""
    command = typer.main.get_command(app)
    rest = words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest[0]]  # type: ignore[attr-defined]
        rest = rest[1:]
    assert not hasattr(command, "commands"), f"no such verb: {' '.join(words)}"
    return command, rest


def test_the_readme_begins_with_the_two_commands() -> None:
    first = next(text for language, text in blocks(README) if language == "sh")
    assert [line.split("#")[0].split() for line in first.splitlines()] == [
        ["make", "demo"],
        ["make", "test"],
    ]
    before = README.read_text().split("```")[0]
    assert len(before.split()) < 60, "the commands come first"


def check_command(words: list[str], where: str) -> None:
    command, rest = find_command(words)
    options = {o for p in command.params for o in [*p.opts, *p.secondary_opts]}
    unknown = {word.split("=")[0] for word in rest if word.startswith("-")} - options
    assert not unknown, f"{where}: {' '.join(words)}: no option {unknown}"


def test_every_nearedge_command_that_is_shown_exists_with_its_options() -> None:
    shown = 0
    for page in PAGES:
        for words in commands(page):
            if words[0] == "nearedge" and words[1:] != ["--version"]:
                check_command(words, page.name)
                shown += 1
    assert shown >= 10


def test_every_nearedge_command_of_the_container_exists_with_its_options() -> None:
    (line,) = re.findall(r'^CMD \["sh", "-c", "(.*)"\]$', DOCKERFILE.read_text(), re.MULTILINE)
    parts = [shlex.split(part.removeprefix("exec ")) for part in line.split(" && ")]
    assert [words[:2] for words in parts] == [["nearedge", "up"], ["nearedge", "run"]]
    for words in parts:
        check_command(words, DOCKERFILE.name)


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    command = ["-m", "typer", "nearedge.cli.app", "utils", "docs", "--name", "nearedge", "--title"]
    told = subprocess.run(
        [sys.executable, *command, "The command line"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    written = (CHECKOUT / "docs" / "cli.md").read_text()
    assert told.stdout.strip() == written.strip(), "run `make docs`"


def test_every_make_target_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    shown = {words[1] for page in PAGES for words in commands(page) if words[0] == "make"}
    assert shown <= targets
    assert {"demo", "test"} <= shown


def test_every_setting_is_explained_with_its_default() -> None:
    rows = dict(
        re.findall(
            r"^\| `(\w+)` \| `NEAREDGE_\w+` \| (.*?) \|",
            (CHECKOUT / "docs" / "architecture.md").read_text(),
            re.MULTILINE,
        )
    )
    defaults = {
        name: "" if field.default in (None, "") else f"`{field.default}`"
        for name, field in Settings.model_fields.items()
    }
    assert {name: default.strip() for name, default in rows.items()} == defaults


@pytest.mark.parametrize(
    "document",
    [
        StructureDoc,
        RelaxationDoc,
        CalculationDoc,
        SpectrumDoc,
        ConvergenceDoc,
        BenchmarkDoc,
        DatasetDoc,
        DescriptorsDoc,
        ModelCard,
        StylesDoc,
    ],
)
def test_every_field_of_every_document_is_explained(document: type[Document]) -> None:
    text = (CHECKOUT / "docs" / "data.md").read_text()
    section = text.split(f"## {document.collection}\n")[1].split("\n## ")[0]
    shared = {"schema_version", "created_at"}
    table = {
        name
        for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert table == set(document.model_fields) - shared


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_path_of_the_repository_that_is_named_exists() -> None:
    rooms = "nearedge|makers|workflows|models|tests|docs|examples|docker|benchmarks"
    for page in PAGES:
        for name in re.findall(rf"`((?:{rooms})/[\w./-]+)`", page.read_text()):
            assert (CHECKOUT / name).exists(), f"{page.name} names {name}"


def test_the_security_page_says_who_runs_code_on_the_workers() -> None:
    said = " ".join((CHECKOUT / "SECURITY.md").read_text().split())
    assert "Whoever can write the launchpad database runs code on the workers" in said


def test_the_changelog_has_this_version() -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    assert version == nearedge.__version__
    assert f"\n## {version}" in (CHECKOUT / "CHANGELOG.md").read_text()


def test_nothing_is_left_for_later() -> None:
    for page in PAGES:
        assert not re.search(r"\b(TODO|FIXME|TBD|XXX|coming soon)\b", page.read_text()), page.name


def test_the_shell_scripts_are_well_formed() -> None:
    for script in (CHECKOUT / ".ci" / "run", CHECKOUT / "docker" / "proxy" / "start.sh"):
        shell = script.read_text().splitlines()[0].split("/")[-1].split()[-1]
        checked = subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert script.stat().st_mode & 0o111


@pytest.mark.slow
@pytest.mark.integration
def test_the_example_computes_once_and_knows_the_second_time(tmp_path: Path) -> None:
    script = CHECKOUT / "examples" / "submit_and_query.py"
    environment = os.environ | {"NEAREDGE_HOME": str(tmp_path)}

    def said() -> str:
        return subprocess.run(
            [sys.executable, script],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    try:
        first, second = said(), said()
    finally:
        nearedge_program = Path(sys.executable).parent / "nearedge"
        subprocess.run([nearedge_program, "down"], env=environment, check=True)
    assert "2 sites to compute, 0 known already." in first
    assert "0 sites to compute, 2 known already." in second
    results = [line for line in first.splitlines() if " eV" in line]
    assert len(results) == 3
    assert results == [line for line in second.splitlines() if " eV" in line]
