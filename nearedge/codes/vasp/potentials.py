"""Bring the user's own POTCARs together for a run; nothing of them is stored anywhere else.

They are found as pymatgen finds them: below ``PMG_VASP_PSP_DIR``, which stands in the environment
or in pymatgen's own settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pymatgen.core import SETTINGS
from pymatgen.io.vasp import PotcarSingle

from nearedge.codes.base import Availability
from nearedge.codes.outputs import find_packed, read_packed
from nearedge.errors import CodeError, ResourceError

REMEDY = "name their folder in PMG_VASP_PSP_DIR, as pymatgen has it"


def families() -> tuple[str, ...]:
    """Return the families of potentials that pymatgen knows."""
    return tuple(sorted(PotcarSingle.functional_dir))


def potentials_availability() -> Availability:
    """Look for the folder of potentials."""
    root = SETTINGS.get("PMG_VASP_PSP_DIR")
    if not root:
        return Availability(False, "VASP's potentials are not found", REMEDY)
    if not Path(str(root)).expanduser().is_dir():
        return Availability(False, f"PMG_VASP_PSP_DIR names {root}, which is no folder", REMEDY)
    return Availability(True, str(root))


def potcar_text(symbols: Sequence[str], family: str) -> str:
    """Return the text of POTCAR for these potentials, in this order.

    Parameters
    ----------
    symbols
        Such as ``Ti_sv_GW``, one for each type in POSCAR.
    family
        As pymatgen names them: ``PBE_54``.

    Raises
    ------
    ResourceError
        Naming what the user must supply. It is the machine's fault, not the calculation's.
    """
    wanted = ", ".join(dict.fromkeys(symbols))
    root = SETTINGS.get("PMG_VASP_PSP_DIR")
    if not root:
        raise ResourceError(
            f"VASP needs the potentials {wanted} ({family}), which come with its licence: {REMEDY}."
        )
    folder = Path(str(root)).expanduser() / PotcarSingle.functional_dir[family]
    return "".join(_one(folder, symbol, wanted) for symbol in symbols)


def _one(folder: Path, symbol: str, wanted: str) -> str:
    places = ((folder, f"POTCAR.{symbol}"), (folder / symbol, "POTCAR"))
    for place, name in places:
        path = find_packed(place, name)
        if path is not None:
            try:
                text = read_packed(path)
            except CodeError as error:
                raise ResourceError(error.message) from None
            return text if text.endswith("\n") else f"{text}\n"
    raise ResourceError(
        f"PMG_VASP_PSP_DIR has no potential {symbol} in {folder.name}; needed are {wanted}."
    )
