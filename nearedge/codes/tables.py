"""Tables of numbers in the outputs of codes, read with mistrust."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from nearedge.errors import CodeError
from nearedge.spectra.spectrum import FloatArray

# Fortran leaves the E out of an exponent of three digits: 0.1234-101.
_NO_E = re.compile(r"(?<=\d)([-+]\d{3})\b")
MIN_ROWS = 20
"""A spectrum with fewer points shows nothing."""


def read_table(text: str, *, name: str, columns: int, min_rows: int = MIN_ROWS) -> FloatArray:
    """Return the first columns of a table; lines that begin with ``#`` and empty ones are left out.

    Parameters
    ----------
    text
        The file, or the part of it that holds the table.
    name
        What messages call it.
    columns
        How many to return; rows may have more, all the same number.
    min_rows
        Fewer are no spectrum.

    Returns
    -------
    ndarray
        Shape ``(n, columns)``; the first column increases.

    Raises
    ------
    CodeError
        ``output_empty``, ``output_truncated``, ``output_foreign`` (words where numbers should be),
        ``output_not_finite`` or ``output_not_increasing``.
    """
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    if not lines:
        raise CodeError("output_empty", f"{name} holds no numbers.")
    rows = [line.split() for line in lines]
    width = len(rows[0])
    if width < columns:
        raise CodeError("output_foreign", f"{name} has {width} columns instead of {columns}.")
    # Writing stops anywhere: a last line cut inside a number may still have all its words.
    if not text.endswith("\n") or len(rows[-1]) != width or len(rows) < min_rows:
        raise CodeError(
            "output_truncated", f"{name} ends too early: {len(rows)} rows, {lines[-1].strip()!r}."
        )
    table = _numbers(rows, width, columns, name)
    if not np.all(np.diff(table[:, 0]) > 0):
        where = int(np.argmin(np.diff(table[:, 0])))
        raise CodeError(
            "output_not_increasing",
            f"{name}: {table[where + 1, 0]:g} follows {table[where, 0]:g} in its first column.",
        )
    return table


def _numbers(rows: Sequence[Sequence[str]], width: int, columns: int, name: str) -> FloatArray:
    uneven = next((row for row in rows if len(row) != width), None)
    if uneven is not None:
        raise CodeError("output_foreign", f"{name}: {' '.join(uneven)!r} is no row of its table.")
    words = [row[:columns] for row in rows]
    try:
        table: FloatArray = np.array(words, dtype=np.float64)
    except ValueError:
        fixed = [[_NO_E.sub(r"E\1", word.replace("D", "E")) for word in row] for row in words]
        try:
            table = np.array(fixed, dtype=np.float64)
        except ValueError:
            flat = (word for row in words for word in row)
            bad = next(word for word in flat if not _is_number(word))
            kind = "output_not_finite" if "*" in bad else "output_foreign"
            raise CodeError(kind, f"{name} holds {bad[:20]!r} instead of a number.") from None
    if not np.all(np.isfinite(table)):
        row = int(np.argmin(np.all(np.isfinite(table), axis=1)))
        raise CodeError("output_not_finite", f"{name}, row {row + 1} of the table is not finite.")
    return table


def _is_number(word: str) -> bool:
    try:
        float(_NO_E.sub(r"E\1", word.replace("D", "E")))
    except ValueError:
        return False
    return True


def isotropic(
    components: Mapping[str, FloatArray], weights: Mapping[str, float] | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return energy and weighted mean of the absorption of several polarisations.

    Parameters
    ----------
    components
        Name to a table whose first column is the energy and second the absorption, ``(n, 2)``.
    weights
        Name to weight; equal ones if None.

    Returns
    -------
    tuple[ndarray, ndarray]
        Shape ``(n,)`` each.

    Raises
    ------
    CodeError
        ``output_foreign`` if they are not on one energy grid.
    """
    first, *others = components
    energy = components[first][:, 0]
    for name in others:
        table = components[name]
        if len(table) != len(energy):
            raise CodeError(
                "output_truncated",
                f"{name} has {len(table)} points and {first} {len(energy)}: one is cut short.",
            )
        if not np.allclose(table[:, 0], energy, rtol=0, atol=1e-6):
            raise CodeError("output_foreign", f"{name} has other energies than {first}.")
    share = np.array([1.0 if weights is None else weights[name] for name in components])
    stacked = np.array([table[:, 1] for table in components.values()])
    mean: FloatArray = share @ stacked / share.sum()
    return energy, mean
