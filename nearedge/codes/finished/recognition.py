"""Find out which protocol a stranger's input was made with, if any.

An input states meshes and numbers of bands; a protocol states densities and energy ranges, which
give these numbers for one structure. So the input is compared with what each protocol makes for the
same site: equal inputs get the protocol's parameters, and with them the id of our own calculation.
"""

from __future__ import annotations

from collections.abc import Callable

from pymatgen.core import Structure

from nearedge.codes.base import UNKNOWN, InputSet, MakeInputs
from nearedge.codes.finished.runs import CUSTOM
from nearedge.codes.protocols import load_protocol, protocol_names
from nearedge.errors import InputRefused, StructureError
from nearedge.schemas.calculation import Parameter

Parameters = dict[str, Parameter]


def recognise(
    code: str,
    stated: Parameters,
    *,
    make: MakeInputs,
    state: Callable[[InputSet], Parameters],
    structure: Structure,
    absorbing_index: int,
    edge: str,
) -> tuple[Parameters, str]:
    """Return the parameters of a stranger's input, and its protocol's label.

    Parameters
    ----------
    stated
        What the input says, by its own numbers.
    make
        Makes our own input set for the same site with a protocol.
    state
        Says of an input set what `stated` says of the stranger's.

    Returns
    -------
    tuple
        The protocol's parameters and label; `stated` and ``custom`` if it is none of them.
    """
    for name in protocol_names(code):
        protocol = load_protocol(code, name)
        try:
            inputs = make(structure, absorbing_index, edge, protocol, UNKNOWN)
        except (InputRefused, StructureError):
            continue
        if state(inputs) == stated:
            return inputs.parameters, protocol.label
    return stated, CUSTOM
