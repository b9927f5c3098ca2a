"""Finished FEFF calculations, of any origin: folders and archives of ``feff.inp`` and ``xmu.dat``.

Understood without asking is OmniXAS's tree, ``<material>/POSCAR`` and
``<material>/FEFF-XANES/<site>_<El>/{feff.inp,xmu.dat}`` with ``<site>`` counted from 0
(arXiv:2409.19552); else any folder with both files, the crystal taken from a POSCAR in it or up to
two folders above, or from the deck. What a ``nearedge.json`` beside an unchanged deck says goes
before all of it.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from pymatgen.core import Structure

from nearedge.codes.base import BadRun, FinishedRun, KnownRun
from nearedge.codes.feff.crystal import (
    deck_structure,
    find_absorber,
    read_poscar,
    surroundings_agree,
)
from nearedge.codes.feff.deck import Deck, parse_deck
from nearedge.codes.feff.inputs import DECK, deck_parameters, protocol_of
from nearedge.codes.feff.parse import parse_xmu
from nearedge.codes.finished.members import BadMember, Fraction, Member, iter_members
from nearedge.codes.finished.sidecar import SIDECAR, Sidecar, parse_sidecar
from nearedge.errors import CodeError, IngestError
from nearedge.structures.elements import symbol
from nearedge.structures.identity import structure_key

OUTPUT = "xmu.dat"
POSCAR = "POSCAR"
SCF_LOG = "log1.dat"
WANTED = frozenset({DECK, OUTPUT, POSCAR, SCF_LOG, SIDECAR})
MAX_HELD_BYTES = 256 * 1024**2
"""Of files that wait for their partner."""
MAX_ELEMENT = 118
_SITE_FOLDER = re.compile(r"(\d+)_([A-Z][a-z]?)")


def iter_finished(
    path: Path,
    *,
    known: Callable[[str], bool] | None = None,
    progress: Fraction | None = None,
) -> Iterator[FinishedRun | KnownRun | BadRun]:
    """Yield the finished calculations in a folder or archive, and what could not be read.

    Parameters
    ----------
    path
        A folder, or a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip, which is not unpacked to disk.
    known
        Asked with each calculation's fingerprint; True passes it by as a `KnownRun`.
    progress
        Called with the share of an archive that has been read.

    Raises
    ------
    IngestError
        If `path` is neither.
    """
    pairing = _Pairing(path, known)
    for member in iter_members(path, WANTED, progress):
        if isinstance(member, BadMember):
            yield BadRun(member.label, member.reason)
        else:
            yield from pairing.take(member)
    yield from pairing.rest()


class _Pairing:
    """Brings the files of a calculation together as they come by, in whatever order."""

    def __init__(self, path: Path, known: Callable[[str], bool] | None) -> None:
        self._path = path
        self._known = known
        self._parts: OrderedDict[PurePosixPath, dict[str, bytes]] = OrderedDict()
        self._poscars: OrderedDict[PurePosixPath, bytes] = OrderedDict()
        self._structures: OrderedDict[PurePosixPath, Structure | str] = OrderedDict()
        self._told: OrderedDict[str, Structure] = OrderedDict()
        self._held = 0
        self._later: frozenset[PurePosixPath] | None = None
        self._seen = False

    def take(self, member: Member) -> Iterator[FinishedRun | KnownRun | BadRun]:
        """Take a file and yield what it completes."""
        folder, name = member.path.parent, member.path.name
        self._held += len(member.content)
        if name == POSCAR:
            self._poscars[folder] = member.content
            for waiting in [each for each in self._parts if folder in _ancestry(each)]:
                yield from self._try(waiting)
        else:
            self._parts.setdefault(folder, {})[name] = member.content
            yield from self._try(folder)
        yield from self._shed()

    def rest(self) -> Iterator[FinishedRun | KnownRun | BadRun]:
        """Yield what is left when the last file has come by."""
        for folder in list(self._parts):
            parts = self._parts.pop(folder)
            if DECK in parts and OUTPUT in parts:
                yield self._read(folder, parts)
            elif parts.keys() & {DECK, OUTPUT}:
                self._seen = True
                there, missing = (DECK, OUTPUT) if DECK in parts else (OUTPUT, DECK)
                yield BadRun(_label(folder, None), f"{there} has no {missing} beside it")
        if not self._seen:
            yield BadRun(self._path.name, "holds no feff.inp with an xmu.dat")

    def _try(self, folder: PurePosixPath) -> Iterator[FinishedRun | KnownRun | BadRun]:
        parts = self._parts[folder]
        if DECK not in parts or OUTPUT not in parts or self._more_is_to_come(folder):
            return
        del self._parts[folder]
        self._held -= sum(len(content) for content in parts.values())
        yield self._read(folder, parts)

    def _more_is_to_come(self, folder: PurePosixPath) -> bool:
        """Whether a POSCAR or ``nearedge.json`` of this calculation is stored further on.

        In a folder they come first. Of an archive the names are read through once, the first time
        that a calculation comes without; in OmniXAS's none does.
        """
        if (
            self._path.is_dir()
            or SIDECAR in self._parts[folder]
            or any(each in self._poscars for each in _ancestry(folder))
        ):
            return False
        if self._later is None:
            members = iter_members(self._path, frozenset({POSCAR, SIDECAR}), read=frozenset())
            self._later = frozenset(
                m.path.parent if m.path.name == POSCAR else m.path
                for m in members
                if isinstance(m, Member)
            )
        return any(each in self._later for each in (*_ancestry(folder), folder / SIDECAR))

    def _shed(self) -> Iterator[BadRun]:
        """Give up the oldest files when too many wait."""
        while self._held > MAX_HELD_BYTES:
            if self._parts:
                folder, parts = self._parts.popitem(last=False)
                self._held -= sum(len(content) for content in parts.values())
                yield BadRun(
                    _label(folder, None),
                    "its files are too far apart in the archive: unpack it and ingest the folder",
                )
            else:
                folder, content = self._poscars.popitem(last=False)
                self._held -= len(content)

    def _read(
        self, folder: PurePosixPath, parts: dict[str, bytes]
    ) -> FinishedRun | KnownRun | BadRun:
        self._seen = True
        home = next((each for each in _ancestry(folder) if each in self._poscars), None)
        label = _label(folder, home)
        poscar = b"" if home is None else self._poscars[home]
        told = [parts[SIDECAR]] if SIDECAR in parts else []
        fingerprint = _fingerprint(parts[DECK], parts[OUTPUT], poscar, *told)
        if self._known is not None and self._known(fingerprint):
            return KnownRun(label, fingerprint)
        try:
            if (sidecar := self._sidecar(parts)) is not None:
                run = _read_told(sidecar, parts)
                return replace(run, label=label, fingerprint=fingerprint)
            run = read_finished(
                _text(parts, DECK),
                _text(parts, OUTPUT),
                None if home is None else self._structure(home),
                site=_site(folder),
                scf_log=_text(parts, SCF_LOG),
            )
        except CodeError as error:
            return BadRun(label, error.message)
        except IngestError as error:
            return BadRun(label, str(error))
        except (ValueError, KeyError, IndexError, ArithmeticError) as error:
            # Strangers' files: what no check above foresaw costs one calculation, not the archive.
            return BadRun(label, f"cannot be understood ({type(error).__name__}: {error})")
        named = _material(folder, home)
        return replace(run, label=label, fingerprint=fingerprint, structure_label=named)

    def _sidecar(self, parts: dict[str, bytes]) -> Sidecar | None:
        """Return what ``nearedge.json`` says, if it is of this deck; sites share one structure."""
        if SIDECAR not in parts:
            return None
        sidecar = parse_sidecar(parts[SIDECAR])
        if sidecar.code != "feff" or not sidecar.fits(parts.get):
            return None
        key = structure_key(sidecar.structure)
        shared = self._told.setdefault(key, sidecar.structure)
        if len(self._told) > 64:
            self._told.popitem(last=False)
        return replace(sidecar, structure=shared)

    def _structure(self, home: PurePosixPath) -> Structure:
        """Return the POSCAR's structure; the sites of a material share one."""
        if home not in self._structures:
            try:
                read: Structure | str = read_poscar(self._poscars[home].decode("utf-8", "replace"))
            except IngestError as error:
                read = str(error)
            self._structures[home] = read
            if len(self._structures) > 64:
                self._structures.popitem(last=False)
        found = self._structures[home]
        if isinstance(found, str):
            raise IngestError(found)
        return found


def read_finished(
    deck_text: str,
    output: str,
    structure: Structure | None,
    *,
    site: tuple[int, str] | None = None,
    scf_log: str = "",
) -> FinishedRun:
    """Read one finished calculation; labels and fingerprint are the caller's to fill in.

    Parameters
    ----------
    deck_text, output
        Texts of ``feff.inp`` and ``xmu.dat``.
    structure
        The crystal, or None to take it from the deck.
    site
        Site and element of the absorber as the folder's name states them; None to find the site.
    scf_log
        Text of ``log1.dat``, where it was kept.

    Raises
    ------
    CodeError
        If a file is damaged or of another calculation.
    IngestError
        If deck and structure do not belong together.
    """
    _refuse_unconverged(scf_log)
    deck = _consistent_deck(deck_text)
    xmu = parse_xmu(output)
    xmu.check_against(deck)
    note = None
    index: int | None = None
    crystal = structure
    if structure is None:
        structure, index, note = deck_structure(deck)
        crystal = structure if note is None else None
    if index is None:
        index = _absorbing_index(structure, deck, site)
    parameters = deck_parameters(deck, None if crystal is None else crystal.composition)
    result = xmu.result()
    return FinishedRun(
        label="",
        fingerprint="",
        structure=structure,
        structure_label="",
        absorbing_index=index,
        absorber=symbol(deck.atomic_numbers[0]),
        edge=deck.edge,
        parameters=parameters,
        protocol=protocol_of(parameters),
        code_version=xmu.header.version,
        inputs={DECK: deck_text},
        result=result if note is None else replace(result, warnings=[note]),
    )


def _refuse_unconverged(scf_log: str) -> None:
    if "Convergence not reached" in scf_log:
        raise IngestError("FEFF's self-consistent field did not converge, says log1.dat")


def _read_told(sidecar: Sidecar, parts: dict[str, bytes]) -> FinishedRun:
    """Read a calculation of which NearEdge itself has said what it is."""
    _refuse_unconverged(_text(parts, SCF_LOG))
    deck = parse_deck(_text(parts, DECK))
    xmu = parse_xmu(_text(parts, OUTPUT))
    xmu.check_against(deck)
    return FinishedRun(
        label="",
        fingerprint="",
        structure=sidecar.structure,
        structure_label=sidecar.label,
        absorbing_index=sidecar.absorbing_index,
        absorber=sidecar.structure[sidecar.absorbing_index].specie.symbol,
        edge=sidecar.edge,
        parameters=sidecar.parameters,
        protocol=sidecar.protocol,
        code_version=sidecar.code_version or xmu.header.version,
        inputs={DECK: _text(parts, DECK)},
        result=xmu.result(),
    )


def _text(parts: dict[str, bytes], name: str) -> str:
    return parts.get(name, b"").decode("utf-8", "replace")


def _consistent_deck(text: str) -> Deck:
    """Read a deck whose parts refer to each other as they must; FEFF's own limits do not matter."""
    deck = parse_deck(text)
    numbers = deck.atomic_numbers
    if unknown := sorted({0, *deck.potential_of} - numbers.keys()):
        raise IngestError(f"feff.inp has no potential {unknown[0]} among its POTENTIALS")
    if strange := [z for z in numbers.values() if not 1 <= z <= MAX_ELEMENT]:
        raise IngestError(f"feff.inp has a potential of Z = {strange[0]}, which is no element")
    deck.absorber()
    if not np.all(np.isfinite(deck.positions)):
        raise IngestError("feff.inp has an atom whose coordinates are not numbers")
    try:
        for words in deck.egrid:
            [float(word) for word in words[1:4]]
    except ValueError:
        raise IngestError(f"feff.inp: `{' '.join(words)}` is no line of EGRID") from None
    return deck


def _absorbing_index(structure: Structure, deck: Deck, site: tuple[int, str] | None) -> int:
    if deck.crystal is not None and len(deck.crystal.symbols) != len(structure):
        raise IngestError(
            f"the deck is of a crystal with {len(deck.crystal.symbols)} sites, POSCAR has "
            f"{len(structure)}"
        )
    if site is None:
        return find_absorber(structure, deck)
    index, element = site
    absorber = symbol(deck.atomic_numbers[0])
    if element != absorber:
        raise IngestError(f"the folder says {element}, the deck's absorber is {absorber}")
    if index >= len(structure) or structure[index].specie.symbol != absorber:
        raise IngestError(f"the folder says site {index}, which is no {absorber} of the structure")
    if not surroundings_agree(structure, index, deck):
        raise IngestError(f"site {index} of the structure has other neighbours than the deck")
    return index


def _ancestry(folder: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """Return where a calculation's POSCAR may be: in its folder, or one or two above."""
    return (folder, *list(folder.parents)[:2])


def _site(folder: PurePosixPath) -> tuple[int, str] | None:
    match = _SITE_FOLDER.fullmatch(folder.name)
    return None if match is None else (int(match.group(1)), match.group(2))


def _material(folder: PurePosixPath, home: PurePosixPath | None) -> str:
    if home is not None:
        return home.name or folder.name
    if _site(folder) is not None and len(folder.parts) > 2:
        return folder.parts[-3]
    return folder.name


def _label(folder: PurePosixPath, home: PurePosixPath | None) -> str:
    """Return the name people know: ``<material>_<site>``, or the end of the path without a site."""
    site = _site(folder)
    if site is None or (home is None and len(folder.parts) < 3):
        return "/".join(folder.parts[-3:])
    return f"{_material(folder, home)}_{site[0]:03d}"


def _fingerprint(*contents: bytes) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(f"{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()[:32]
