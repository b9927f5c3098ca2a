"""What a head takes beside a structure's features: element, fidelity, another code's spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pymatgen.core.periodic_table import Element

from nearedge.errors import ModelError
from nearedge.schemas.model import TrainingSet
from nearedge.spectra.spectrum import FloatArray

ELEMENT = "element"
FIDELITY = "fidelity"
SPECTRUM = "spectrum:"
"""Followed by the code that computed it."""


def input_columns(
    inputs: Mapping[str, int],
    fidelities: Sequence[str],
    of: TrainingSet,
    rows: int,
    spectra: FloatArray | None = None,
) -> FloatArray:
    """Return the columns that follow the features, shape ``(rows, sum of widths)``.

    Parameters
    ----------
    inputs
        Names and widths, in order, as on a model's card.
    fidelities
        What the numbers of the block `fidelity` stand for.
    of
        The data set that the rows belong to, or are predicted like.
    spectra
        Of another code or protocol, shape ``(rows, points)``, where `inputs` has such a block.

    Raises
    ------
    ModelError
        If a block is unknown, or its spectra are missing or of another width.
    """
    columns: list[FloatArray] = [np.empty((rows, 0))]
    for name, width in inputs.items():
        if name == ELEMENT:
            columns.append(np.full((rows, 1), float(Element(of.absorber).Z)))
        elif name == FIDELITY:
            columns.append(np.full((rows, 1), float(_number(fidelities, of))))
        elif name.startswith(SPECTRUM):
            if spectra is None or bool(np.isnan(spectra).any()):
                raise ModelError(
                    f"The model takes the {name.removeprefix(SPECTRUM)} spectrum of each site as "
                    "an input: give it, or name a model that predicts it when training."
                )
            if spectra.shape != (rows, width):
                raise ModelError(
                    f"The model takes spectra of {width} points as an input for {rows} sites, not "
                    f"an array of shape {spectra.shape}."
                )
            columns.append(spectra)
        else:
            raise ModelError(
                f"This version of NearEdge has no input {name!r}: the model was made by a newer "
                "one."
            )
    return np.concatenate(columns, axis=1)


def _number(fidelities: Sequence[str], of: TrainingSet) -> int:
    if of.fidelity not in fidelities:
        raise ModelError(
            f"The model knows spectra by {', '.join(fidelities) or 'none'}, not by {of.fidelity}."
        )
    return list(fidelities).index(of.fidelity)
