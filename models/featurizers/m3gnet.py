"""M3GNet features: what the frozen network's layers hold for each site.

The network is M3GNet-MP-2021.2.8-PES (doi:10.1038/s43588-022-00349-3); OmniXAS (arXiv:2409.19552)
takes the 64 numbers of a site's node after the last of three blocks, which is block 3 here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pymatgen.core.structure import Structure

from nearedge.errors import WeightsError
from nearedge.models.featurizers.m3gnet_blocks import BLOCK_NAMES, ELEMENTS, M3GNetBlocks
from nearedge.models.featurizers.m3gnet_graph import BondGraph
from nearedge.models.featurizers.m3gnet_network import CUTOFF, WIDTH
from nearedge.models.featurizers.reference import check_energies
from nearedge.models.featurizers.weights import Weights, find_weights, read_weights
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray

NAME = "M3GNet-MP-2021.2.8-PES"
PUBLISHED = ("3",)
"""The blocks that OmniXAS takes."""
# The network is written for these; matgl's own defaults changed over time.
_EXPECTED: Mapping[str, int | float | bool | str | None] = {
    "cutoff": CUTOFF,
    "threebody_cutoff": CUTOFF,
    "nblocks": 3,
    "max_n": 3,
    "max_l": 3,
    "units": WIDTH,
    "dim_node_embedding": WIDTH,
    "dim_edge_embedding": WIDTH,
    "rbf_type": "SphericalBessel",
    "activation_type": "swish",
    "use_smooth": False,
    "use_phi": False,
    "include_state": False,
    "is_intensive": False,
}
MATGL_CACHE = Path.home() / ".cache" / "matgl"
"""Where matgl 4 keeps what it downloaded."""


class M3GNetFeaturizer:
    """The frozen network. Make it by `load_m3gnet`, which checks what it computes.

    Parameters
    ----------
    weights
        The published ones.
    blocks
        What the features are made of; see `BLOCK_NAMES`. They come in that order.
    """

    def __init__(self, weights: Weights, blocks: Sequence[str] = PUBLISHED) -> None:
        _check_architecture(weights)
        self._model = M3GNetBlocks([name for name in BLOCK_NAMES if name in blocks])
        _load_state(self._model, weights)
        self._model.eval().requires_grad_(False)
        self._energy_scale, self._offsets = _energy_units(weights)
        chosen = ",".join(self._model.blocks)
        published = self._model.blocks == PUBLISHED
        self._ref = FeaturizerRef(
            name="m3gnet" if published else f"m3gnet:{chosen}",
            weights_sha256=weights.sha256,
            options={"model": NAME, **({"block": 3} if published else {"blocks": chosen})},
            size=self._model.size,
        )

    @property
    def ref(self) -> FeaturizerRef:
        """Name, weights and options."""
        return self._ref

    @property
    def blocks(self) -> dict[str, int]:
        """Names and widths of the blocks."""
        return {f"m3gnet:{name}": WIDTH for name in self._model.blocks}

    @property
    def model(self) -> M3GNetBlocks:
        """The network itself, with the published parameters, frozen."""
        return self._model

    def features(self, structure: Structure) -> FloatArray:
        """Return the features of all sites, shape ``(n_sites, ref.size)``, in the sites' order."""
        return self._model.features(structure)

    def energy_per_atom(self, structure: Structure) -> float:
        """Return the potential's energy in eV per atom: it tells whether the numbers are right."""
        with torch.inference_mode():
            return float(self.total_energy(self._model.graph([structure]))) / len(structure)

    def total_energy(self, graph: BondGraph) -> torch.Tensor:
        """Return the potential's energy of all sites of a graph in eV, as a differentiable sum."""
        network = self._model.network
        shares = network.site_energies(network(graph)).double()
        return shares.sum() * self._energy_scale + self._offsets[graph.kinds].sum()


def load_m3gnet(
    model_path: Path | None = None, blocks: Sequence[str] = PUBLISHED
) -> M3GNetFeaturizer:
    """Find, read and check the published weights.

    Raises
    ------
    WeightsError
        If they are missing, damaged, another model's, or give wrong reference energies.
    """
    # One thread: more do not help these small matrices, and workers share the machine.
    torch.set_num_threads(1)
    weights = read_weights(find_weights(NAME, model_path, MATGL_CACHE))
    featurizer = M3GNetFeaturizer(weights, blocks)
    check_energies(featurizer.energy_per_atom, str(weights.folder))
    return featurizer


def load_blocks(model_path: Path | None = None, blocks: Sequence[str] = PUBLISHED) -> M3GNetBlocks:
    """Return the network with the published weights, checked, ready to be fine-tuned.

    Raises
    ------
    WeightsError
        As `load_m3gnet`.
    """
    return load_m3gnet(model_path, blocks).model.requires_grad_(True)


def _check_architecture(weights: Weights) -> None:
    """Refuse weights of another network than the one that is written here.

    matgl's own loader imports whatever class the file names; here the class is fixed.
    """
    described = weights.arguments.get("model")
    if not isinstance(described, dict) or described.get("@class") != "M3GNet":
        raise WeightsError(f"{weights.folder / 'model.pt'} does not describe an M3GNet model.")
    arguments = described.get("init_args")
    if not isinstance(arguments, dict):
        raise WeightsError(f"{weights.folder / 'model.pt'} does not say how the model was made.")
    for key, expected in {**_EXPECTED, "element_types": ELEMENTS}.items():
        found = arguments.get(key)
        if found != expected and not (key == "element_types" and tuple(found or ()) == expected):
            raise WeightsError(
                f"The weights in {weights.folder} are another model: {key} is "
                f"{str(found)[:60]} where {NAME} as published with OmniXAS has "
                f"{str(expected)[:60]}."
            )


def _energy_units(weights: Weights) -> tuple[float, torch.Tensor]:
    """Return the energy scale in eV and the elements' reference energies in eV."""
    try:
        scale = float(weights.arguments["data_std"])
        offsets = torch.as_tensor(weights.arguments["element_refs"], dtype=torch.float64)
    except (KeyError, TypeError, ValueError):
        raise WeightsError(
            f"{weights.folder / 'model.pt'} lacks the energy scale or the elements' reference "
            "energies of a matgl potential: it is another kind of model."
        ) from None
    return scale, offsets.reshape(-1)


def _load_state(model: M3GNetBlocks, weights: Weights) -> None:
    prefix = "model."
    state = {
        key.removeprefix(prefix): value
        for key, value in weights.state.items()
        if key.startswith(prefix)
    }
    wanted = model.network.state_dict().keys()
    missing = [key for key in wanted if key not in state]
    if missing:
        raise WeightsError(
            f"{weights.folder / 'state.pt'} lacks {len(missing)} parameters of {NAME}, the first "
            f"being {missing[0]}: the file is another model's or damaged."
        )
    try:
        model.network.load_state_dict({key: state[key] for key in wanted})
    except RuntimeError as error:
        raise WeightsError(
            f"The parameters in {weights.folder / 'state.pt'} do not fit {NAME}: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from None
