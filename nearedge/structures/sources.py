"""Structures from files, folders and the Materials Project, in the order they were named."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePath

import yaml
from monty.io import zopen
from pymatgen.core.structure import Structure
from pymatgen.io.cif import CifParser
from pymatgen.io.vasp.inputs import BadPoscarWarning, Poscar

from nearedge.structures.checks import refusal
from nearedge.structures.source import (
    COMPRESSED,
    LoadedStructure,
    Refusal,
    SourceRef,
    name_parts,
    readable,
)
from nearedge.structures.stored import stored_structure

PATTERNS = ("poscar*", "contcar*", "*.poscar", "*.contcar", "*.vasp", "*.cif", "*.json")
"""Names of the files that a folder is searched for, in lower case; also compressed ones."""

_POSCAR = ("*poscar*", "*contcar*", "*.vasp")
_CIF = ("*.cif", "*.mcif")
_SERIALISED = ("*.json*", "*.mson*", "*.yaml*", "*.yml*")
_MATERIALS_PROJECT_ID = re.compile(r"(mp|mvc)-\d+")


class _Unreadable(Exception):
    """A file that gives no structure; the message is the reason."""


def load_structures(
    items: Sequence[str | Path], *, absorber: str | None = None, mp_api_key: str | None = None
) -> list[LoadedStructure | Refusal]:
    """Load every structure that `items` name; what gives none is a refusal, never an exception.

    Parameters
    ----------
    items
        Files in any format that pymatgen reads, folders (searched with all below them for
        `PATTERNS`, in alphabetical order), or Materials Project ids such as ``mp-390``. A path that
        exists is a path, whatever it looks like.
    absorber
        Symbol of an element that each structure must have.
    mp_api_key
        Key of the Materials Project's API; without it ids are refused.

    Returns
    -------
    list of LoadedStructure or Refusal
        In the order given. Oxidation states and site properties are left out: only elements,
        positions and lattice enter a calculation. A file's label is its name without folder and
        ending, with as much of the folders as tells it from the others; a refusal has its path.
    """
    loaded: list[LoadedStructure | Refusal] = []
    for item in items:
        try:
            loaded.extend(_from_item(str(item), absorber, mp_api_key))
        except (OSError, RuntimeError) as error:  # names that no file can have, unknown ~users
            loaded.append(Refusal(readable(str(item)), f"it cannot be read: {_first_line(error)}."))
    return _told_apart(loaded)


def _told_apart(loaded: Sequence[LoadedStructure | Refusal]) -> list[LoadedStructure | Refusal]:
    """Give files that are called alike labels that tell one from the other.

    ``a/anatase.cif`` is ``anatase``, unless there is a ``b/anatase.cif``: then ``a_anatase``.
    """
    alike: dict[str, set[str]] = {}
    taken: set[str] = set()
    for each in loaded:
        if isinstance(each, Refusal):
            continue
        if each.source.path is None:
            taken.add(each.source.label)
        else:
            alike.setdefault(each.source.label, set()).add(each.source.path)
    longer: dict[str, str] = {}
    for label, given in alike.items():
        paths = {each: _absolute(each) for each in given}
        # The same file twice needs no second name.
        if len(set(paths.values())) > 1 or label in taken:
            labels = _longer_labels(paths, taken | set(alike))
            longer |= labels
            taken.update(labels.values())
    return [each if isinstance(each, Refusal) else _relabelled(each, longer) for each in loaded]


def _relabelled(loaded: LoadedStructure, labels: Mapping[str, str]) -> LoadedStructure:
    source = loaded.source
    label = labels.get(source.path or "", source.label)
    return replace(loaded, source=source.model_copy(update={"label": label}))


def _longer_labels(paths: Mapping[str, PurePath], taken: Set[str]) -> dict[str, str]:
    """Return labels of files that are called alike: the ends of their paths, as far as it takes.

    Endings come last: they tell ``anatase.cif`` from ``anatase.vasp`` in one folder.
    """
    labels: dict[str, str] = {}
    depth = max(len(path.parts) for path in paths.values())
    for whole in (False, True):
        for count in range(1, depth):
            labels = {
                given: "_".join(_end(path, count, whole=whole)) for given, path in paths.items()
            }
            different = len(set(labels.values())) == len(set(paths.values()))
            if different and taken.isdisjoint(labels.values()):
                return labels
    return labels


def _end(path: PurePath, count: int, *, whole: bool) -> tuple[str, ...]:
    """Return the last `count` parts of a name; of the `whole` one ``POSCAR`` is no part alone."""
    parts = name_parts(path)
    if not whole:
        return parts[-count:]
    everything = path.parts[1:]
    return everything[-(count + len(everything) - len(parts)) :]


def _from_item(
    item: str, absorber: str | None, mp_api_key: str | None
) -> Iterable[LoadedStructure | Refusal]:
    if not item.strip():
        return [Refusal(item, "the name is empty.")]
    path = Path(item).expanduser()
    if path.is_dir():
        return _from_folder(path, absorber)
    if not path.exists() and _MATERIALS_PROJECT_ID.fullmatch(item):
        return [_from_materials_project(item, absorber, mp_api_key)]
    return [_from_file(path, absorber)]


def read_structure(path: Path) -> Structure:
    """Read one file with pymatgen, keeping elements, positions and lattice only.

    Raises
    ------
    _Unreadable
        With the reason.
    """
    try:
        if not path.is_file():
            raise _Unreadable("there is no such file or folder.")
        if path.stat().st_size == 0:
            raise _Unreadable("the file is empty.")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            structure = _parse(path)
    except _Unreadable:
        raise
    except OSError as error:
        raise _Unreadable(f"it cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # pymatgen's parsers raise whatever they stumble over
        raise _Unreadable(f"it is not a structure: {_first_line(error)}.") from error
    for warning in caught:
        if issubclass(warning.category, BadPoscarWarning) and "false names" in str(warning.message):
            raise _Unreadable("it does not name its elements; add the line of symbols (VASP 5).")
    return plain(structure)


def plain(structure: Structure) -> Structure:
    """Return `structure` without oxidation states, labels and site properties.

    Sites occupied in part, or by something that is no element, are left as they are, to be refused
    by name.
    """
    species = [
        getattr(site.specie, "element", site.specie) if site.is_ordered else site.species
        for site in structure
    ]
    return Structure(structure.lattice, species, structure.frac_coords)


def _parse(path: Path) -> Structure:
    name = path.name.lower()
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    if any(fnmatch(name, pattern) for pattern in _POSCAR) and not name.endswith(".json"):
        return Poscar.from_file(str(path)).structure
    if any(fnmatch(name, pattern) for pattern in _CIF):
        return _parse_cif(path)
    if any(fnmatch(name, pattern) for pattern in _SERIALISED):
        # YAML's parser reads JSON too, a hundred times more slowly.
        with zopen(path, mode="rt", encoding="utf-8") as file:
            text = file.read()
        return stored_structure(
            json.loads(text) if ".json" in name or ".mson" in name else yaml.safe_load(text)
        )
    try:
        structure = Structure.from_file(str(path))
    except ValueError as error:
        if "Unrecognized extension" not in str(error):
            raise
        raise _Unreadable(
            "its name does not tell the format; end it in .cif, .vasp, .json or the like."
        ) from None
    if not isinstance(structure, Structure):
        raise _Unreadable("it does not hold a crystal structure.")
    return structure


def _parse_cif(path: Path) -> Structure:
    structures = CifParser(str(path)).parse_structures(primitive=False)
    if len(structures) != 1:
        raise _Unreadable(f"it holds {len(structures)} structures; give each in a file of its own.")
    return structures[0]


def _from_file(path: Path, absorber: str | None) -> LoadedStructure | Refusal:
    try:
        structure = read_structure(path)
    except _Unreadable as error:
        return Refusal(readable(str(path)), str(error))
    return _checked(structure, _file(path), absorber)


def _file(path: Path) -> SourceRef:
    given = readable(str(path))
    return SourceRef(kind="file", label=name_parts(_absolute(given))[-1], path=given)


def _absolute(given: str) -> PurePath:
    return PurePath(os.path.abspath(given))


def _from_folder(folder: Path, absorber: str | None) -> Iterator[LoadedStructure | Refusal]:
    found = False
    unreadable: list[OSError] = []
    for path in _candidates(folder, unreadable):
        try:
            structure = read_structure(path)
        except _Unreadable as error:
            # Any program writes JSON: one that is no structure was not meant for us.
            if ".json" not in path.name.lower():
                found = True
                yield Refusal(readable(str(path)), str(error))
            continue
        found = True
        yield _checked(structure, _file(path), absorber)
    for problem in unreadable:
        found = True
        yield Refusal(
            readable(str(problem.filename)), f"the folder cannot be read: {problem.strerror}."
        )
    if not found:
        yield Refusal(
            readable(str(folder)),
            f"the folder holds no structure; looked for {', '.join(PATTERNS)}.",
        )


def _candidates(folder: Path, unreadable: list[OSError]) -> Iterator[Path]:
    for root, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            lower = name.lower()
            for suffix in COMPRESSED:
                lower = lower.removesuffix(suffix)
            if any(fnmatch(lower, pattern) for pattern in PATTERNS):
                yield Path(root, name)


def _from_materials_project(
    material_id: str, absorber: str | None, key: str | None
) -> LoadedStructure | Refusal:
    if not key:
        return Refusal(
            material_id,
            "an id of the Materials Project needs a key of its API: set NEAREDGE_MP_API_KEY, or "
            "give a structure file instead.",
        )
    # Imported here because it brings phonons and plots, a quarter of what a submission imports.
    from pymatgen.ext.matproj import MPRester  # noqa: PLC0415

    try:
        structure = MPRester(key).get_structure_by_material_id(material_id)
    except Exception as error:  # network, key, id: all of the client's own making
        reason = _first_line(error).replace(key, "<key>")
        return Refusal(material_id, f"the Materials Project gave no structure: {reason}.")
    source = SourceRef(
        kind="materials_project",
        label=material_id,
        citation="Materials Project, doi:10.1063/1.4812323",
    )
    return _checked(plain(structure), source, absorber)


def _checked(
    structure: Structure, source: SourceRef, absorber: str | None
) -> LoadedStructure | Refusal:
    reason = refusal(structure, absorber)
    return (
        LoadedStructure(structure, source) if reason is None else Refusal(source.given_as, reason)
    )


def _first_line(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0].strip().rstrip(".")
    return text[:200] or type(error).__name__
