"""What other packages need on this stack, each with its reason.

`tests/test_compat.py` fails as soon as upstream no longer needs one of these.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nearedge.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor


@cache
def lightshow_parameters(code: str) -> ModuleType:
    """Return lightshow 1.2.8's module ``lightshow.parameters.<code>``.

    ``import lightshow`` fails: its VASP module imports ``pymatgen.io.vasp.sets.DictSet``, which
    pymatgen renamed ``VaspInputSet``, and its database module wants the ``mp_api`` client. Both
    come from lightshow's ``__init__``, which none of the modules here needs, so the one that is
    asked for is imported under a bare package that is taken away again: nobody else sees a
    half-made ``lightshow``. The VASP module sees a `DictSet` meanwhile; see `_dict_set`.

    Parameters
    ----------
    code
        ``feff``, ``xspectra``, ``ocean``, ``exciting`` or ``vasp``.

    Raises
    ------
    SettingsError
        If lightshow is not installed.
    """
    spec = find_spec("lightshow")
    if spec is None or spec.submodule_search_locations is None:
        raise SettingsError(
            "The package lightshow, which makes the codes' inputs, is not installed: run "
            "`pip install --no-deps lightshow==1.2.8`."
        )
    before = {name: module for name, module in sys.modules.items() if _is_lightshow(name)}
    if "lightshow" not in before:
        bare = ModuleType("lightshow")
        bare.__path__ = list(spec.submodule_search_locations)
        sys.modules["lightshow"] = bare
    try:
        with _dict_set() if code == "vasp" else nullcontext():
            return import_module(f"lightshow.parameters.{code}")
    finally:
        if "lightshow" not in before:
            for name in [name for name in sys.modules if _is_lightshow(name)]:
                del sys.modules[name]


@contextmanager
def _dict_set() -> Iterator[None]:
    """Let pymatgen have its old name `DictSet` for the time of an import.

    The old class also gave magnetic moments where INCAR did not say ISPIN, on which lightshow's
    VASP module relies; pymatgen 2026 drops them then, so ISPIN is said.
    """
    # Imported here because it takes a second, which a FEFF worker must not pay.
    from pymatgen.io.vasp import sets  # noqa: PLC0415

    if hasattr(sets, "DictSet"):
        yield
        return

    def dict_set(structure: Any, config: dict[str, Any]) -> Any:
        return sets.VaspInputSet(structure, {**config, "INCAR": {"ISPIN": 2, **config["INCAR"]}})

    vars(sets)["DictSet"] = dict_set
    try:
        yield
    finally:
        del vars(sets)["DictSet"]


def _is_lightshow(name: str) -> bool:
    return name == "lightshow" or name.startswith("lightshow.")


def sum_messages_at_destination(layers: Iterable[Any]) -> None:
    """Give M3GNet blocks of matgl 4.1.2 the message sums that the published weights were made with.

    matgl 4.1.2 adds each edge's message to the atom that the edge starts from; the weights of
    M3GNet-MP-2021.2.8 were trained when it was added to the atom that the edge ends at. Both agree
    for elements, where an edge and its reverse are alike, and differ for every compound. Only the
    blocks passed in are changed: other models of matgl in this process keep matgl's own sums.

    Parameters
    ----------
    layers
        The `graph_layers` of a loaded ``matgl.models.M3GNet``, changed in place.
    """
    convolution = _destination_convolution()
    for block in layers:
        old = block.conv
        block.conv = convolution(
            old.include_state,
            old.edge_update_func,
            old.edge_weight_func,
            old.node_update_func,
            old.node_weight_func,
            old.state_update_func,
        )


@cache
def _destination_convolution() -> Any:
    # Imported here because torch and matgl take seconds, which a FEFF worker that imports this
    # module for lightshow must not pay.
    import torch  # noqa: PLC0415
    from matgl.layers._graph_convolution import M3GNetGraphConv  # noqa: PLC0415

    class DestinationSumConvolution(M3GNetGraphConv):  # type: ignore[misc, unused-ignore]
        """A convolution whose messages go to the atom that the edge ends at."""

        def node_update_(
            self,
            edge_index: Tensor,
            edge_feat: Tensor,
            node_feat: Tensor,
            rbf: Tensor,
            u_per_edge: Tensor | None,
            num_nodes: int,
        ) -> Tensor:
            start, end = edge_index
            seen = [node_feat[start], node_feat[end], edge_feat]
            if u_per_edge is not None:
                seen.append(u_per_edge)
            messages: Tensor = self.node_update_func(
                torch.cat(seen, dim=1)
            ) * self.node_weight_func(rbf)
            return messages.new_zeros(num_nodes, messages.shape[1]).index_add(0, end, messages)

    return DestinationSumConvolution
