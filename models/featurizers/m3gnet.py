"""M3GNet features: the nodes after the third graph convolution, as OmniXAS takes them.

The network is M3GNet-MP-2021.2.8-PES (doi:10.1038/s43588-022-00349-3), frozen; the feature of a
site is the 64 numbers of its node after the last of three blocks (arXiv:2409.19552).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matgl.config import MATGL_CACHE
from matgl.ext.pymatgen import Structure2Graph
from matgl.models import M3GNet
from pymatgen.core.structure import Structure

from nearedge.compat import sum_messages_at_destination
from nearedge.errors import ModelError, WeightsError
from nearedge.models.featurizers.reference import check_energies
from nearedge.models.featurizers.weights import Weights, find_weights, read_weights
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray

NAME = "M3GNet-MP-2021.2.8-PES"
BLOCK = 3
# matgl's own defaults changed over time, so what the features hang on is asked for by value.
_EXPECTED: Mapping[str, int | float | bool] = {
    "cutoff": 5.0,
    "threebody_cutoff": 5.0,
    "nblocks": 3,
    "is_intensive": False,
}
# Made from the constructor's arguments, so not every file has them.
_DERIVED_SUFFIXES = ("rbf.cutoff", "sbf.cutoff")


class M3GNetFeaturizer:
    """The frozen network. Make it by `load_m3gnet`, which checks what it computes."""

    def __init__(self, weights: Weights) -> None:
        arguments = _model_arguments(weights)
        self._network = M3GNet(**arguments)
        _load_state(self._network, weights)
        sum_messages_at_destination(self._network.graph_layers)
        self._network.eval().requires_grad_(False)
        self._graph = Structure2Graph(self._network.element_types, self._network.cutoff)
        try:
            self._energy_scale = float(weights.arguments["data_std"])
            offsets = torch.as_tensor(weights.arguments["element_refs"], dtype=torch.float64)
        except (KeyError, TypeError, ValueError):
            raise WeightsError(
                f"{weights.folder / 'model.pt'} lacks the energy scale or the elements' reference "
                "energies of a matgl potential: it is another kind of model."
            ) from None
        self._offsets = offsets.reshape(-1)
        self._elements = frozenset(self._network.element_types)
        self._ref = FeaturizerRef(
            name="m3gnet",
            weights_sha256=weights.sha256,
            options={"model": NAME, "block": BLOCK},
            size=int(arguments["dim_node_embedding"]),
        )

    @property
    def ref(self) -> FeaturizerRef:
        """Name, weights and options."""
        return self._ref

    def features(self, structure: Structure) -> FloatArray:
        """Return the node features of all sites, shape ``(n_sites, 64)``, in the sites' order."""
        self._forward(structure)
        nodes = self._network.feature_dict[f"gc_{BLOCK}"]["node_feat"]
        features: FloatArray = nodes.numpy().astype(np.float64)
        if not np.all(np.isfinite(features)):
            raise ModelError(
                f"M3GNet gives numbers that are not finite for {structure.composition.formula}: "
                "look at its coordinates."
            )
        return features

    def energy_per_atom(self, structure: Structure) -> float:
        """Return the potential's energy in eV per atom: it tells whether the numbers are right."""
        output, node_types = self._forward(structure)
        total = float(output) * self._energy_scale + float(self._offsets[node_types].sum())
        return total / len(structure)

    def _forward(self, structure: Structure) -> tuple[torch.Tensor, torch.Tensor]:
        unknown = sorted({site.specie.symbol for site in structure} - self._elements)
        if unknown:
            raise ModelError(
                f"M3GNet was not trained with {unknown[0]}, which is in "
                f"{structure.composition.reduced_formula}."
            )
        # Coordinates become float32 in the graph: inside the cell they lose least.
        wrapped = Structure(structure.lattice, structure.species, structure.frac_coords % 1.0)
        graph, lattice, state = self._graph.get_graph(wrapped)
        if graph.edge_index.shape[1] == 0:
            raise ModelError(
                f"No two atoms of {structure.composition.formula} are within "
                f"{self._network.cutoff:g} Å, so M3GNet sees no surroundings."
            )
        expected = [self._network.element_types.index(site.specie.symbol) for site in structure]
        if graph.node_type.tolist() != expected:
            raise ModelError("matgl changed the order of sites: its features cannot be assigned.")
        graph.pbc_offshift = graph.pbc_offset @ lattice[0]
        graph.pos = graph.frac_coords @ lattice[0]
        output = self._network(graph, state_attr=torch.as_tensor(state))
        return output, graph.node_type


def load_m3gnet(model_path: Path | None = None) -> M3GNetFeaturizer:
    """Find, read and check the published weights.

    Raises
    ------
    WeightsError
        If they are missing, damaged, another model's, or give wrong reference energies.
    """
    # One thread: more do not help these small matrices, and workers share the machine.
    torch.set_num_threads(1)
    weights = read_weights(find_weights(NAME, model_path, MATGL_CACHE))
    featurizer = M3GNetFeaturizer(weights)
    check_energies(featurizer.energy_per_atom, str(weights.folder))
    return featurizer


def _model_arguments(weights: Weights) -> dict[str, Any]:
    """Return what the network is built with, after checking that it is the network wanted.

    matgl's own loader imports whatever class the file names; here the class is fixed.
    """
    described = weights.arguments.get("model")
    if not isinstance(described, dict) or described.get("@class") != "M3GNet":
        raise WeightsError(f"{weights.folder / 'model.pt'} does not describe an M3GNet model.")
    arguments = described.get("init_args")
    if not isinstance(arguments, dict):
        raise WeightsError(f"{weights.folder / 'model.pt'} does not say how the model was made.")
    for key, expected in _EXPECTED.items():
        if arguments.get(key) != expected:
            raise WeightsError(
                f"The weights in {weights.folder} are another model: {key} is "
                f"{arguments.get(key)} where {NAME} as published with OmniXAS has {expected}."
            )
    return arguments


def _load_state(network: M3GNet, weights: Weights) -> None:
    prefix = "model."
    state = {
        key.removeprefix(prefix): value
        for key, value in weights.state.items()
        if key.startswith(prefix)
    }
    try:
        mismatch = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise WeightsError(
            f"The parameters in {weights.folder / 'state.pt'} do not fit {NAME}: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from None
    missing = [key for key in mismatch.missing_keys if not key.endswith(_DERIVED_SUFFIXES)]
    if missing:
        raise WeightsError(
            f"{weights.folder / 'state.pt'} lacks {len(missing)} parameters of {NAME}, the first "
            f"being {missing[0]}: the file is another model's or damaged."
        )
