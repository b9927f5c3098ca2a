"""A home of the tests' own, with ld1.x or a reason to skip."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nearedge.settings import get_settings


@pytest.fixture(scope="session")
def _needs_ld1(need: Callable[[object, str], None]) -> None:
    need(shutil.which("ld1.x"), "ld1.x is not installed (apt install quantum-espresso)")


@pytest.fixture(scope="session")
def potentials_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose cache the tests that only use potentials share."""
    return tmp_path_factory.mktemp("potentials")


@pytest.fixture
def ld1(_needs_ld1: None, potentials_home: Path, in_home: Callable[[Path], None]) -> None:
    in_home(potentials_home)


@pytest.fixture
def in_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Set this process's home, and its folder of own potentials."""

    def enter(home: Path, pseudo_path: Path | None = None) -> None:
        monkeypatch.setenv("NEAREDGE_HOME", str(home))
        monkeypatch.delenv("NEAREDGE_PSEUDO_PATH", raising=False)
        if pseudo_path is not None:
            monkeypatch.setenv("NEAREDGE_PSEUDO_PATH", str(pseudo_path))
        get_settings.cache_clear()

    yield enter
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def shipped(need: Callable[[object, str], None]) -> Path:
    """The folder of XSpectra's examples, which Debian's package of Quantum ESPRESSO has."""
    folder = Path("/usr/share/doc/quantum-espresso/examples/XSpectra")
    need(folder.is_dir(), f"{folder} is not there (apt install quantum-espresso-data)")
    return folder


UPF_1 = """<PP_INFO>
</PP_INFO>
<PP_HEADER>
   0                   Version Number
  {element}                   Element
   NC                  Norm - Conserving pseudopotential
    F                  Nonlinear Core Correction
 SLA  PW   PBX  PBC    PBE  Exchange-Correlation functional
  {valence}      Z valence
  -10.44139757378      Total energy
  {cutoff}      0.000 Suggested cutoff for wfc and rho
</PP_HEADER>
<PP_MESH>
  <PP_R>
  1.0E-02 2.0E-02
  4.0E-02
  </PP_R>
</PP_MESH>
{gipaw}"""
GIPAW_1 = """<PP_GIPAW_RECONSTRUCTION_DATA>
  <PP_GIPAW_CORE_ORBITAL>
    1    0     N  L                       1S     eig:  -20.0
  1.5E-01 2.5E-01 3.5E-01
  </PP_GIPAW_CORE_ORBITAL>
</PP_GIPAW_RECONSTRUCTION_DATA>
"""


@pytest.fixture(scope="session")
def upf_text() -> Callable[..., str]:
    """Write a file of version 1 with three radii."""

    def write(
        element: str = "Ti", valence: float = 12.0, *, gipaw: bool = True, cutoff: float = 0.0
    ) -> str:
        return UPF_1.format(
            element=element, valence=valence, cutoff=cutoff, gipaw=GIPAW_1 if gipaw else ""
        )

    return write
