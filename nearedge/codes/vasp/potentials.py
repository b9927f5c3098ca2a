"""Bring the user's own POTCARs together for a run; nothing of them is stored anywhere else.

They are found as pymatgen finds them: below ``PMG_VASP_PSP_DIR``, which stands in the environment
or in pymatgen's own settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pymatgen.core import SETTINGS
from pymatgen.io.vasp import PotcarSingle

from nearedge.codes.packed import find_packed, read_packed
from nearedge.errors import CodeError, InputRefused


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
    InputRefused
        ``potentials_missing``, naming what the user must supply.
    """
    wanted = ", ".join(dict.fromkeys(symbols))
    root = SETTINGS.get("PMG_VASP_PSP_DIR")
    if not root:
        raise InputRefused(
            "potentials_missing",
            f"VASP needs the potentials {wanted} ({family}), which come with its licence: name "
            "their folder in PMG_VASP_PSP_DIR, as pymatgen has it.",
        )
    if family not in PotcarSingle.functional_dir:
        raise InputRefused(
            "potentials_missing",
            f"pymatgen knows no family of potentials {family!r}; it knows "
            f"{', '.join(sorted(PotcarSingle.functional_dir))}.",
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
                raise InputRefused("potentials_missing", error.message) from None
            return text if text.endswith("\n") else f"{text}\n"
    raise InputRefused(
        "potentials_missing",
        f"PMG_VASP_PSP_DIR has no potential {symbol} in {folder.name}; needed are {wanted}.",
    )
