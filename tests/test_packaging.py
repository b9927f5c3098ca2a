"""The package as others install it: a wheel that holds everything and nothing under a bare name."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parent.parent
ROOMS = {"nearedge": "nearedge", "makers": "nearedge.makers", "workflows": "nearedge.workflows"}
ROOMS["models"] = "nearedge.models"
DATA = {".yaml", ".typed"}
PAGES = {".html", ".css"}
# What the build of torch for NVIDIA's devices brings; the pinned environment has the one for CPUs.
OF_TORCH = re.compile(r"(nvidia|cuda)-(?!ml-py).*|triton")


def project() -> dict[str, dict[str, object]]:
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def package_folders() -> dict[str, Path]:
    """Return each package by its import name, as the folders say."""
    found = {}
    for folder, name in ROOMS.items():
        for file in (CHECKOUT / folder).rglob("*.py"):
            inner = file.parent.relative_to(CHECKOUT / folder).parts
            found[".".join([name, *inner])] = file.parent
    return found


def pins() -> dict[str, str]:
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    pinned = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", x) for x in lines if x[:1] != "#"]
    assert all(pinned), "constraints.txt has a line that is neither a comment nor name==version"
    return {canonicalize_name(m[1]): m[2] for m in pinned if m}


def test_the_packages_named_are_the_folders_that_exist() -> None:
    named = project()["tool"]["setuptools"]["packages"]  # type: ignore[index]
    assert sorted(named) == sorted(package_folders())
    for name, folder in package_folders().items():
        assert (folder / "__init__.py").is_file(), f"{name} has no __init__.py"


def test_every_dependency_of_every_extra_is_pinned() -> None:
    tables = project()["project"]
    wanted = list(tables["dependencies"])  # type: ignore[call-overload]
    for extra in tables["optional-dependencies"].values():  # type: ignore[attr-defined]
        wanted += extra
    pinned = pins()
    for text in wanted:
        requirement = Requirement(text)
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} has no pin in constraints.txt"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{text} against {version}"
        )


def needed() -> dict[str, str]:
    """Return everything that the project pulls in with all its extras, at the version installed."""
    tables = project()["project"]
    waiting = [Requirement(text) for text in tables["dependencies"]]  # type: ignore[attr-defined]
    for extra in tables["optional-dependencies"].values():  # type: ignore[attr-defined]
        waiting += [Requirement(text) for text in extra]
    lightshow = metadata.distribution("lightshow")  # installed without what it asks for
    found = {"lightshow": lightshow.version}
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        distribution = metadata.distribution(name)
        if not OF_TORCH.fullmatch(name):
            found[name] = distribution.version.partition("+")[0]
        for text in distribution.requires or []:
            inner = Requirement(text)
            chosen = [{"extra": extra} for extra in extras or {""}]
            if inner.marker is None or any(inner.marker.evaluate(each) for each in chosen):
                waiting.append(inner)
    return found


def test_exactly_what_is_needed_is_pinned_at_the_version_installed() -> None:
    """A pin too many would keep an old version alive unseen; one too few lets versions drift."""
    assert needed() == pins(), "run `make pins` in a fresh .venv"


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from it, of a copy: a build leaves files in the source."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ROOMS:
        shutil.copytree(CHECKOUT / name, source / name, ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", cwd=source)
    return folder / "dist"


def test_the_wheel_holds_every_module_and_data_file_and_no_bare_names(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {
        f"{name.replace('.', '/')}/{file.name}"
        for name, folder in package_folders().items()
        for file in folder.iterdir()
        if file.suffix in {".py", *DATA}
    }
    page = CHECKOUT / "nearedge/launch/webpage"
    expected |= {
        f"nearedge/launch/webpage/{file.relative_to(page)}"
        for file in page.rglob("*")
        if file.suffix in PAGES
    }
    assert "nearedge/py.typed" in expected
    assert inside == expected


def test_the_sdist_holds_what_the_wheel_is_built_from(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    for folder in package_folders().values():
        for file in folder.iterdir():
            if file.suffix in {".py", *DATA}:
                assert str(file.relative_to(CHECKOUT)) in inside
    assert {"pyproject.toml", "README.md", "LICENSE"} <= inside


@pytest.fixture(scope="module")
def elsewhere(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own; return the folder of its programs.

    Its dependencies are seen through a .pth file, which also runs nothing: the editable install of
    this checkout, which works through .pth files of the other environment, is not seen.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    programs = folder / "venv" / "bin"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "venv" / "lib" / version / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    wheel = str(next(built.glob("*.whl")))
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    return programs


def test_the_installed_wheel_is_imported_from_another_folder(
    elsewhere: Path, tmp_path: Path
) -> None:
    modules = "nearedge nearedge.makers nearedge.workflows nearedge.models nearedge.codes.feff"
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1].split():\n"
        "    print(importlib.import_module(name).__file__)\n"
        "for bare in ('makers', 'workflows', 'models'):\n"
        "    assert importlib.util.find_spec(bare) is None, bare\n"
    )
    said = run(elsewhere / "python", "-c", script, modules, cwd=tmp_path)
    assert len(said.splitlines()) == len(modules.split())
    assert all(Path(line).is_relative_to(elsewhere.parent) for line in said.splitlines())


def test_the_installed_command_says_its_version(elsewhere: Path, tmp_path: Path) -> None:
    version = project()["project"]["version"]
    assert run(elsewhere / "nearedge", "--version", cwd=tmp_path) == f"nearedge {version}\n"


def test_the_installed_wheel_reads_its_own_data_files(elsewhere: Path, tmp_path: Path) -> None:
    script = (
        "from nearedge.codes.protocols import protocol_names\n"
        "from nearedge.structures.builtin import builtin_names\n"
        "print(len(protocol_names('feff')), len(builtin_names()))\n"
    )
    protocols, structures = run(elsewhere / "python", "-c", script, cwd=tmp_path).split()
    assert int(protocols) >= 3
    assert int(structures) >= 6
