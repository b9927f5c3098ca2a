"""Read UPF files, version 1 and 2, as far as XSpectra's inputs need them.

The formats: https://pseudopotentials.quantum-espresso.org/home/unified-pseudopotential-format
(version 2) and Quantum ESPRESSO's ``upflib/read_upf_v1.f90`` (version 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import spherical_jn

Array = NDArray[np.float64]


class UpfError(ValueError):
    """A text that cannot be read as a UPF file; says in what way."""


@dataclass(frozen=True)
class Wave:
    """An atomic or core wave; `values` are r times its radial part, shape ``(n,)``."""

    n: int
    l: int  # noqa: E741
    values: Array


@dataclass(frozen=True)
class Header:
    """What a UPF file says of itself; `cutoff` in Ry, None where it does not say."""

    element: str
    kind: str
    valence: float
    cutoff: float | None
    has_gipaw: bool


@dataclass(frozen=True)
class Upf:
    """A pseudopotential file.

    Parameters
    ----------
    header
        What it says of itself.
    radii
        In bohr, shape ``(n,)``.
    core_waves
        From its GIPAW section; empty where there is none.
    """

    header: Header
    radii: Array
    core_waves: list[Wave] = field(default_factory=list)
    text: str = field(default="", repr=False)


def read_upf(text: str) -> Upf:
    """Read a UPF file.

    Raises
    ------
    UpfError
        If it is none, or a part is missing or damaged.
    """
    try:
        if "<UPF version" in text:
            return _version_2(text)
        if "<PP_HEADER>" in text:
            return _version_1(text)
    except (ValueError, IndexError, KeyError) as error:
        raise UpfError(f"it is damaged or cut off ({error})") from None
    raise UpfError("it is no UPF file of version 1 or 2")


def core_wavefunctions(upf: Upf) -> str:
    """Return what xspectra.x reads as ``filecore``.

    The layout is that of Quantum ESPRESSO's ``XSpectra/tools/upf2plotcore.sh``: a line that names
    the states, and for each two columns, r in bohr and r times the wave, and an empty line.

    Raises
    ------
    UpfError
        If the file has no GIPAW section with core waves.
    """
    if not any((wave.n, wave.l) == (1, 0) for wave in upf.core_waves):
        raise UpfError("it has no GIPAW section with the 1s core wave")
    states = " ".join(f" {wave.n} {wave.l};" for wave in upf.core_waves)
    parts = [f"# number of core states {len(upf.core_waves)} = {states}\n"]
    for wave in upf.core_waves:
        parts.extend(
            f"{radius:.11E} {value:.11E}\n"
            for radius, value in zip(upf.radii, wave.values, strict=True)
        )
        parts.append("\n")
    return "".join(parts)


def separable(upf: Upf) -> tuple[list[tuple[int, Array]], Array]:
    """Return the projectors of a version 2 file, each with its l, and their matrix in Ry.

    Raises
    ------
    UpfError
        If they are missing.
    """
    try:
        found = [
            (int(_attributes(tag)["angular_momentum"]), _floats(body))
            for tag, body in _elements(upf.text, r"PP_BETA\.\d+")
        ]
        matrix = _floats(_element(upf.text, "PP_DIJ")).reshape(len(found), len(found))
    except (ValueError, KeyError) as error:
        raise UpfError(f"its projectors cannot be read ({error})") from None
    return found, matrix


def kinetic_tail(upf: Upf, tolerance: float) -> float:
    """Return the cutoff in Ry above which no occupied wave has more kinetic energy than that.

    Parameters
    ----------
    tolerance
        Ry an electron.

    Notes
    -----
    The kinetic energy beyond a wave vector as a measure of convergence is that of Rappe, Rabe,
    Kaxiras and Joannopoulos, Phys. Rev. B 41, 1227 (1990).
    """
    weights = _floats(_element(upf.text, "PP_RAB"))
    inside = upf.radii < _FARTHEST
    radii, weights = upf.radii[inside], weights[inside]
    vectors = np.arange(_VECTOR_STEP, _LARGEST_VECTOR, _VECTOR_STEP)
    worst = 0.0
    for tag, body in _elements(upf.text, r"PP_CHI\.\d+"):
        attributes = _attributes(tag)
        if float(attributes["occupation"]) <= 0:
            continue
        weighted = _floats(body)[inside] * weights * radii
        bessel = spherical_jn(int(attributes["l"]), np.outer(vectors, radii))
        density = (vectors * (bessel @ weighted)) ** 2
        kinetic = vectors**2 * density / density.sum()
        beyond = np.cumsum(kinetic[::-1])[::-1]
        worst = max(worst, float(vectors[np.argmax(beyond < tolerance)] ** 2))
    return worst


_FARTHEST = 20.0
_VECTOR_STEP = 0.04
_LARGEST_VECTOR = 15.0


def _version_2(text: str) -> Upf:
    found = re.search(r"<PP_HEADER\b(.*?)/?>", text, re.DOTALL)
    if found is None:
        raise UpfError("it has no header")
    said = _attributes(found[1])
    header = Header(
        element=said["element"].strip(),
        kind=said["pseudo_type"].strip(),
        valence=float(said["z_valence"]),
        cutoff=float(said.get("wfc_cutoff", "0")) or None,
        has_gipaw=said.get("has_gipaw", "f").strip().lower().strip(".").startswith("t"),
    )
    radii = _floats(_element(text, "PP_R"))
    waves = []
    for tag, body in _elements(text, r"PP_GIPAW_CORE_ORBITAL\.\d+"):
        said = _attributes(tag)
        waves.append(Wave(int(float(said["n"])), int(float(said["l"])), _floats(body)))
    return _checked(Upf(header, radii, waves, text))


def _version_1(text: str) -> Upf:
    lines = _element(text, "PP_HEADER").strip().splitlines()
    header = Header(
        element=lines[1].split()[0],
        kind=lines[2].split()[0],
        valence=float(lines[5].split()[0]),
        cutoff=float(lines[7].split()[0]) or None,
        has_gipaw="<PP_GIPAW_RECONSTRUCTION_DATA>" in text,
    )
    waves = []
    for _, body in _elements(text, "PP_GIPAW_CORE_ORBITAL"):
        said, _, values = body.strip().partition("\n")
        waves.append(Wave(int(said.split()[0]), int(said.split()[1]), _floats(values)))
    return _checked(Upf(header, _floats(_element(text, "PP_R")), waves, text))


def _checked(upf: Upf) -> Upf:
    finite = np.all(np.isfinite(upf.radii)) and upf.radii.size > 1
    if not finite or np.any(np.diff(upf.radii) <= 0):
        raise UpfError("its radii do not increase")
    for wave in upf.core_waves:
        if wave.values.shape != upf.radii.shape or not np.all(np.isfinite(wave.values)):
            raise UpfError(f"its core wave {wave.n} {wave.l} is not finite on all radii")
    return upf


def _element(text: str, name: str) -> str:
    for _, body in _elements(text, name):
        return body
    raise UpfError(f"it has no {name}")


def _elements(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield what stands in each element's tag, and what it holds."""
    for match in re.finditer(rf"<({name})\b([^>]*)>(.*?)</\1>", text, re.DOTALL):
        yield match[2], match[3]


def _attributes(text: str) -> dict[str, str]:
    return dict(re.findall(r'([\w.]+)\s*=\s*"([^"]*)"', text))


def _floats(text: str) -> Array:
    # Fortran writes 1.0D+00, and drops the E of three-digit exponents: 0.1-100.
    plain = re.sub(r"(?<=\d)([+-]\d{3})\b", r"E\1", text.replace("D", "E"))
    return np.array(plain.split(), dtype=np.float64)
