"""Look the pinned packages over: what is known against them, and whether each is pinned.

Without a network it knows the weaknesses that stand in advisories.yaml, a list by hand. With
``--online`` it lets pip-audit ask PyPI for all that are known.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

HERE = Path(__file__).resolve().parent
PINS = HERE.parent / "constraints.txt"
ADVISORIES = HERE / "advisories.yaml"

_PIN = re.compile(r"([A-Za-z0-9._-]+)==([0-9][\w.!-]*)")


def pinned(lines: Sequence[str]) -> Iterator[tuple[str, Version] | str]:
    """Yield each package with its version, or a sentence about a line that pins none."""
    for line in lines:
        text = line.split("#")[0].strip()
        match = _PIN.fullmatch(text)
        if match is not None:
            yield canonicalize_name(match[1]), Version(match[2])
        elif text:
            yield f"{text!r} pins no version of a package of the registry"


def faults(lines: Sequence[str], advisories: Sequence[dict[str, str]]) -> list[str]:
    """Return a sentence for each line that pins nothing and each weakness that is not accepted."""
    unpinned = [each for each in pinned(lines) if isinstance(each, str)]
    return unpinned + weaknesses(lines, [each for each in advisories if "accepted" not in each])


def weaknesses(lines: Sequence[str], advisories: Sequence[dict[str, str]]) -> list[str]:
    """Return a sentence for each weakness that a pinned version has."""
    versions = dict(each for each in pinned(lines) if not isinstance(each, str))
    found = []
    for known in advisories:
        version = versions.get(canonicalize_name(known["package"]))
        if version is not None and version < Version(known["fixed"]):
            why = f"accepted, {known['accepted']}" if "accepted" in known else "take it"
            found.append(
                f"{known['package']} {version} has {known['id']} ({known['what']}), which "
                f"{known['fixed']} has not: {why}"
            )
    return found


def strays(lines: Sequence[str]) -> list[str]:
    """Return a sentence for each pinned package that is installed in another version."""
    found = []
    for each in pinned(lines):
        if isinstance(each, str):
            continue
        name, version = each
        try:
            installed = Version(metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
        if installed.public != version.public:
            found.append(f"{name} {installed} is installed, {version} is pinned")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is wrong; return 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--online", action="store_true", help="let pip-audit ask PyPI")
    options = parser.parse_args(arguments)
    lines = PINS.read_text(encoding="utf-8").splitlines()
    advisories = yaml.safe_load(ADVISORIES.read_text(encoding="utf-8"))
    found = [*faults(lines, advisories), *strays(lines)]
    accepted = weaknesses(lines, [each for each in advisories if "accepted" in each])
    for each in [*found, *accepted]:
        print(each, file=sys.stderr)
    counts = f"{len(found)} found, {len(accepted)} accepted"
    print(f"{len(lines)} lines, {len(advisories)} known weaknesses: {counts}.")
    if options.online:
        # Strict: of packages that its index does not know it would say that nothing is known.
        command = ["-m", "pip_audit", "--strict", "--requirement", str(PINS)]
        command += ["--no-deps", "--disable-pip"]
        return subprocess.run([sys.executable, *command], check=False).returncode or bool(found)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
