"""The rules of the house that a machine can check: who may import whom, and what nobody may do."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
FOLDERS = {"nearedge": "nearedge", "makers": "nearedge.makers", "models": "nearedge.models"}
FOLDERS["workflows"] = "nearedge.workflows"

# One way through: a room may import from itself and from what stands here.
GROUND = {"errors", "settings", "queue_settings", "compat"}
DOCUMENTS = GROUND | {"spectra", "structures", "schemas"}
MAY_IMPORT = {
    "errors": set(),
    "queue_settings": {"errors"},
    "settings": {"errors", "queue_settings"},
    "compat": {"errors", "settings"},
    "spectra": {"errors"},
    "structures": GROUND | {"spectra"},
    "schemas": GROUND | {"spectra", "structures"},
    "plots": DOCUMENTS,
    "codes": DOCUMENTS,
    "models": DOCUMENTS,
    "store": DOCUMENTS,
    "launch": DOCUMENTS | {"store"},
    "makers": DOCUMENTS | {"codes", "models", "store", "launch"},
    "workflows": DOCUMENTS | {"codes", "models", "store", "launch", "makers"},
    "cli": DOCUMENTS | {"codes", "models", "store", "launch", "makers", "workflows", "plots"},
    "__main__": {"cli"},
}

ENGINES = {"jobflow", "fireworks"}
DATABASES = {"pymongo", "bson", "gridfs", "maggma"}
MAY_NOT_IMPORT_FROM_OUTSIDE = {
    "codes": ENGINES | DATABASES,
    "models": ENGINES | DATABASES,
    "structures": ENGINES | DATABASES | {"torch", "matgl"},
    "schemas": ENGINES | DATABASES | {"torch", "matgl"},
    "plots": ENGINES | DATABASES | {"torch", "matgl"},
    "store": ENGINES | {"torch", "matgl"},
}
SPECTRA_MAY_IMPORT = {"numpy", "scipy"}
SPECTRA_MAY_NOT_IMPORT = {"os", "pathlib", "io", "tempfile", "shutil", "subprocess", "socket"}

VAGUE = {"util", "utils", "helper", "helpers", "common", "misc", "tools", "stuff"}


@dataclass(frozen=True)
class Module:
    """A module of the package, parsed."""

    path: Path
    name: str
    tree: ast.Module

    @property
    def room(self) -> str:
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""

    def at(self, node: ast.AST) -> str:
        return f"{self.path.relative_to(CHECKOUT)}:{getattr(node, 'lineno', 1)}"


def read_modules() -> list[Module]:
    modules = []
    for folder, package in FOLDERS.items():
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            inner = path.relative_to(CHECKOUT / folder).with_suffix("").parts
            name = ".".join([package, *(part for part in inner if part != "__init__")])
            modules.append(Module(path, name, ast.parse(path.read_text(), str(path))))
    return modules


MODULES = read_modules()


def imports(module: Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield the full name of everything a module imports, relative imports resolved."""
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}", node


def offences_of_direction(module: Module) -> list[str]:
    wrong = []
    for name, node in imports(module):
        parts = name.split(".")
        if parts[0] in {"makers", "models", "workflows"}:
            wrong.append(f"{module.at(node)} imports {name} under its bare name")
        if parts[0] != "nearedge" or len(parts) < 2:
            continue
        room = parts[1]
        # `from nearedge import __version__` and the like: an attribute, not a room.
        if room in MAY_IMPORT and room != module.room and room not in MAY_IMPORT[module.room]:
            wrong.append(f"{module.at(node)}: {module.room} may not import {name}")
    return wrong


def test_imports_point_one_way() -> None:
    assert not [offence for m in MODULES if m.room for offence in offences_of_direction(m)]


def test_the_ground_floor_itself_imports_no_room() -> None:
    (ground,) = [m for m in MODULES if m.name == "nearedge"]
    assert not [name for name, _ in imports(ground) if name.startswith("nearedge.")]


def test_every_room_has_its_rule() -> None:
    assert {m.room for m in MODULES if m.room} <= set(MAY_IMPORT)


def test_the_direction_rule_sees_an_import_against_it() -> None:
    for room, line in {
        "spectra": "from nearedge.schemas import SpectrumDoc",
        "codes": "def f():\n    import nearedge.store.blobs",
        "models": "from ..store import blobs",
        "makers": "from models import heads",
    }.items():
        path = CHECKOUT / "nearedge" / room / "example.py"
        assert offences_of_direction(Module(path, f"nearedge.{room}.example", ast.parse(line)))


def test_rooms_stay_clear_of_engines_and_databases() -> None:
    wrong = []
    for module in MODULES:
        banned = MAY_NOT_IMPORT_FROM_OUTSIDE.get(module.room, set())
        for name, node in imports(module):
            if name.split(".")[0] in banned:
                wrong.append(f"{module.at(node)}: {module.room} may not import {name}")
    assert not wrong


def test_spectra_is_pure_numpy() -> None:
    wrong = []
    for module in MODULES:
        for name, node in imports(module):
            top = name.split(".")[0]
            allowed = top in SPECTRA_MAY_IMPORT | {"nearedge"} or (
                top in sys.stdlib_module_names and top not in SPECTRA_MAY_NOT_IMPORT
            )
            if module.room == "spectra" and not allowed:
                wrong.append(f"{module.at(node)} imports {name}")
    assert not wrong


def test_a_reader_finds_the_room_by_its_name() -> None:
    parts = {part: m for m in MODULES for part in m.name.split(".")}
    assert not {part: m.name for part, m in parts.items() if set(part.split("_")) & VAGUE}


def keyword(call: ast.Call, name: str) -> object:
    """Return the constant that a call gives to the argument `name`, or None."""
    for argument in call.keywords:
        if argument.arg == name and isinstance(argument.value, ast.Constant):
            return argument.value.value
    return None


def unsafe_calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Yield calls that run code from data or through a shell, or listen on every address.

    ruff looks for the same where it can (pyproject.toml); this finds them under any alias.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if keyword(node, "shell") is True:
            yield "shell=True", node
        if keyword(node, "allow_pickle") is True:
            yield "allow_pickle=True", node
        if called == "torch.load" and keyword(node, "weights_only") is not True:
            yield "torch.load without weights_only=True", node
        if called in {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec"}:
            yield called, node
        if called in {"os.system", "os.popen"}:
            yield called, node
        if called.endswith(".extractall") and keyword(node, "filter") != "data":
            yield "extractall without filter='data'", node


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run('ls', shell=True)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text)",
        "archive.extractall(folder)",
    ],
)
def test_an_unsafe_call_is_seen(line: str) -> None:
    assert list(unsafe_calls(ast.parse(line)))


def test_nothing_runs_code_from_data_or_through_a_shell() -> None:
    found = [f"{m.at(call)}: {what}" for m in MODULES for what, call in unsafe_calls(m.tree)]
    assert not found


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("import pickle", "TID251"),
        ("import subprocess\n\nsubprocess.run('ls', shell=True)", "S602"),
        ("import yaml\n\nyaml.load('a')", "S506"),
        ("ADDRESS = '0.0.0.0'", "S104"),
        ("def f():\n    import json\n\n    return json", "PLC0415"),
        ("def public():\n    return 1", "D103"),
    ],
)
def test_ruff_refuses_what_the_house_refuses(line: str, rule: str) -> None:
    ruff = Path(sys.executable).parent / "ruff"
    checked = subprocess.run(
        [
            ruff,
            "check",
            "--output-format",
            "concise",
            "--stdin-filename",
            "nearedge/store/x.py",
            "-",
        ],
        input=f'"""A module."""\n\n{line}\n',
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert rule in checked.stdout, checked.stdout + checked.stderr


def text_files() -> list[Path]:
    """Return the files of the checkout that git tracks, as text."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    paths = [CHECKOUT / name for name in listed.stdout.split("\0") if name]
    binary = {".xz", ".gz", ".tar", ".zip", ".png", ".safetensors", ".npz"}
    return [path for path in paths if path.is_file() and path.suffix not in binary]


# Written so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w./~}])/(work|root|tmp|Users|home|mnt)/[\w.-]+")
REGISTRY = re.compile(
    "|".join(["pypi" + r"\.org", "files" + r"\.pythonhosted", "npmjs" + r"\.(com|org)"])
)


def test_no_tracked_file_names_a_path_of_one_machine_or_a_registry() -> None:
    wrong = []
    for path in text_files():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if MACHINE_PATH.search(line) or REGISTRY.search(line):
                wrong.append(f"{path.relative_to(CHECKOUT)}:{number}: {line.strip()[:100]}")
    assert not wrong


def test_no_module_grows_beyond_what_one_reads_in_one_go() -> None:
    long = {m.name: n for m in MODULES if (n := len(m.path.read_text().splitlines())) > 450}
    assert not long


def test_every_room_has_tests_under_its_name() -> None:
    tested = {path.parent.name for path in CHECKOUT.glob("tests/*/test_*.py")}
    rooms = {m.room for m in MODULES if m.path.parent.name == m.room}
    assert not rooms - tested
