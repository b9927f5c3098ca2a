"""A folder of the user's own pseudopotentials."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nearedge.codes.xspectra.pseudo.upf import Upf, UpfError, core_wavefunctions, read_upf
from nearedge.errors import InputRefused

# Between the element and the rest of a name; `h` and `_halfh` are what Quantum ESPRESSO's examples
# have, `star1s` its library of core-hole potentials.
_HOLE = r"(?:h|fch|xch|hch|ch|halfh|hole|corehole|core-hole|star1s|1s1)"
# A name goes into pw.x's input as a word.
_NAME = re.compile(r"(?i)[\w.+-]+\.(upf|wfc)")
_MAX_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class OwnPotential:
    """A UPF file of the user's; `name` is without ``.gz``."""

    name: str
    upf: Upf


@dataclass(frozen=True)
class OwnCore:
    """The text that xspectra.x reads as ``filecore``, and the file's name."""

    name: str
    text: str


class OwnFolder:
    """The setting ``pseudo_path``.

    Parameters
    ----------
    path
        A folder; files may be gzipped.

    Raises
    ------
    InputRefused
        ``pseudo_missing``: it is no folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            raise InputRefused(
                "pseudo_missing",
                f"The setting pseudo_path names {path}, which is no folder: correct or unset it.",
            )

    @cached_property
    def _files(self) -> dict[str, Path]:
        """Pseudopotentials and core waves by name without ``.gz``."""
        listed = sorted(self.path.iterdir(), reverse=True)  # a plain file beats a gzipped one
        plain = {each.name.removesuffix(".gz"): each for each in listed if each.is_file()}
        return {name: plain[name] for name in sorted(plain) if _NAME.fullmatch(name)}

    def identity(self) -> str:
        """Return a hash of all pseudopotentials and core waves in the folder."""
        digest = hashlib.sha256(b"nearedge pseudo_path 1")
        for name in self._files:
            content = self._text(name).encode()
            digest.update(f"\n{name} {len(content)}\n".encode() + content)
        return digest.hexdigest()[:32]

    def ground_state(self, element: str) -> OwnPotential:
        """Return the pseudopotential of an element.

        Raises
        ------
        InputRefused
            ``pseudo_missing``, ``pseudo_ambiguous`` or ``pseudo_refused``.
        """
        hole = _hole_pattern(element)
        names = [
            name
            for name in self._files
            if re.match(rf"(?i){element}(?:[._-].*)?\.upf$", name) and not hole.match(name)
        ]
        looked_for = f"{element}.UPF, {element}.*.UPF or {element}_*.UPF"
        return self._potential(element, names, f"{element}.UPF", looked_for)

    def core_hole(self, element: str, ground: OwnPotential) -> OwnPotential:
        """Return the pseudopotential of an element with a hole in 1s.

        Raises
        ------
        InputRefused
            As for `ground_state`, and if it does not have up to one electron more than `ground`.
        """
        hole = _hole_pattern(element)
        names = [name for name in self._files if hole.match(name)]
        looked_for = (
            f"{element}.fch.UPF, {element}.*fch*.UPF, {element}h_*.UPF, {element}_halfh*.UPF or "
            f"{element}.star1s*.UPF"
        )
        found = self._potential(element, names, f"{element}.fch.UPF", looked_for)
        more = found.upf.header.valence - ground.upf.header.valence
        if not 0 < more <= 1:
            raise InputRefused(
                "pseudo_refused",
                f"{self.path / found.name} has {more:g} valence electrons more than {ground.name}; "
                "a core hole leaves up to one more: give the pair that belongs together.",
            )
        if not found.upf.header.has_gipaw:
            raise InputRefused(
                "pseudo_refused",
                f"{self.path / found.name} has no GIPAW section, which xspectra.x needs of the "
                "absorber: make it with lgipaw_reconstruction in ld1.x.",
            )
        return found

    def core_wavefunction(self, element: str, ground: OwnPotential) -> OwnCore:
        """Return the core waves, from a file or else from the GIPAW section of `ground`.

        Raises
        ------
        InputRefused
            ``pseudo_missing``.
        """
        names = (f"Core_{element}.wfc", f"{element}.wfc")
        for name in names:
            if name in self._files:
                return OwnCore(name, self._text(name))
        try:
            return OwnCore(names[0], core_wavefunctions(ground.upf))
        except UpfError as error:
            raise InputRefused(
                "pseudo_missing",
                f"There is neither {names[0]} nor {names[1]} in {self.path}, and they cannot be "
                f"taken from {ground.name}: {error}.",
            ) from None

    def _potential(
        self, element: str, names: list[str], exact: str, looked_for: str
    ) -> OwnPotential:
        if exact in names:
            names = [exact]
        if not names:
            raise InputRefused(
                "pseudo_missing", f"There is no {looked_for} (or the same with .gz) in {self.path}."
            )
        if len(names) > 1:
            raise InputRefused(
                "pseudo_ambiguous",
                f"{self.path} has {' and '.join(names)}: name the one to use {exact}.",
            )
        try:
            upf = read_upf(self._text(names[0]))
        except UpfError as error:
            raise InputRefused(
                "pseudo_refused", f"{self.path / names[0]} cannot be used: {error}."
            ) from None
        said = upf.header.element
        # Ch in Quantum ESPRESSO's example is carbon with a hole.
        if said not in {element, f"{element}h"}:
            raise InputRefused(
                "pseudo_refused",
                f"{self.path / names[0]} is of {said}, not of {element}: correct its name.",
            )
        return OwnPotential(names[0], upf)

    def _text(self, name: str) -> str:
        path = self._files[name]
        try:
            if path.suffix == ".gz":
                with gzip.open(path, "rb") as packed:
                    content = packed.read(_MAX_BYTES + 1)
            else:
                with path.open("rb") as plain:
                    content = plain.read(_MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise InputRefused("pseudo_refused", f"{path} cannot be read: {error}.") from None
        if len(content) > _MAX_BYTES:
            raise InputRefused("pseudo_refused", f"{path} is too large for a pseudopotential.")
        return content.decode("utf-8", "replace")


def _hole_pattern(element: str) -> re.Pattern[str]:
    return re.compile(rf"(?i){element}(?:h|(?:[._-].*)?[._-]{_HOLE})(?:[._-].*)?\.upf$")
