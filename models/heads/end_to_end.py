"""M3GNet and a spectrum network trained together, from structures to spectra.

It starts from the published M3GNet and a network trained on its frozen features, and then moves
both at a small learning rate. What comes out is a featurizer of its own, with its own weights, and
a head on its features: `EndToEndHead.featurizer` computes what `EndToEndHead.predict` takes.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field, field_validator
from pymatgen.core.structure import Structure
from safetensors import SafetensorError
from safetensors.numpy import save
from torch import nn

from nearedge.errors import ModelError
from nearedge.models.featurizers.m3gnet import NAME
from nearedge.models.featurizers.m3gnet_blocks import M3GNetBlocks
from nearedge.models.featurizers.m3gnet_graph import BondGraph
from nearedge.models.featurizers.m3gnet_network import WIDTH
from nearedge.models.heads import head_kind
from nearedge.models.heads.bars import ErrorBars
from nearedge.models.heads.base import Fitted, HeadPrediction, TrainingRows
from nearedge.models.heads.members import member_options, pack, read_settings, unpack
from nearedge.models.heads.network import NetworkHead
from nearedge.models.training.data import Batch, IntArray, held_out_rows
from nearedge.models.training.options import TrainingOptions
from nearedge.models.training.trainer import train
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray

Scalar = bool | int | float | str
FEATURIZER = "m3gnet-own"
"""Name of the featurizers that are inside a model's weights."""


class EndToEndOptions(TrainingOptions):
    """Of the second stage; the first has the options of the head that it starts from."""

    batch_size: int = Field(default=16, ge=2, description="Structures per step.")
    max_epochs: int = Field(default=20, ge=1)
    patience: int = Field(default=5, ge=1)
    learning_rate: float | None = Field(default=2e-4, gt=0, description="Of both networks.")
    kind: str = Field(default="residual", description="Of the network on the features.")
    settings: str = Field(default="{}", description="Its options as JSON.")

    @field_validator("settings")
    @classmethod
    def _are_settings(cls, value: str) -> str:
        read_settings(value)
        return value


@dataclass(frozen=True, eq=False)
class Sites:
    """Where the rows of a training set are.

    Parameters
    ----------
    structures
        Ordered periodic structures; lengths in Å.
    structure, site
        Of each row: the number of its structure, and of its site there, shape ``(n,)`` each.
    """

    structures: Sequence[Structure]
    structure: IntArray
    site: IntArray


@dataclass(frozen=True, eq=False)
class EndToEndHead:
    """A trained M3GNet with its head. Make it by `fit_structures`.

    Parameters
    ----------
    blocks
        Names of M3GNet's blocks that the features are made of.
    state
        M3GNet's parameters.
    head
        The network on the features.
    facts
        What the model card records.
    """

    name: ClassVar[str] = "end_to_end"
    options: ClassVar[type[BaseModel]] = EndToEndOptions

    blocks: tuple[str, ...]
    state: dict[str, NDArray[Any]]
    head: NetworkHead
    facts: dict[str, Scalar]

    @classmethod
    def fit(cls, rows: TrainingRows, *_: object, **__: object) -> NoReturn:
        """Refuse: features are not enough to learn from; see `fit_structures`.

        Raises
        ------
        ModelError
            Always.
        """
        raise ModelError(
            f"An {cls.name} model learns from structures, not from {rows.features.shape[1]} "
            "features: train a residual or xasblock model, or use fit_structures."
        )

    @classmethod
    def fit_structures(
        cls,
        rows: TrainingRows,
        sites: Sites,
        model: M3GNetBlocks,
        options: EndToEndOptions | None = None,
        *,
        seed: int = 0,
        checkpoints: Path | None = None,
    ) -> Fitted[Self]:
        """Train a network on frozen features, then M3GNet with it.

        Parameters
        ----------
        rows
            Spectra, materials, and the features that `model` gives for the sites.
        sites
            Where each row is.
        model
            M3GNet as it is published; it is not changed.
        seed, checkpoints
            As in `Head.fit`.

        Raises
        ------
        ModelError
            If rows and sites do not belong together, or the head is no network.
        """
        chosen = options or EndToEndOptions()
        if not len(rows.features) == len(sites.structure) == len(sites.site):
            raise ModelError(
                f"{len(rows.features)} rows and {len(sites.site)} sites do not belong together."
            )
        first = member_options(chosen.kind, read_settings(chosen.settings))
        start = head_kind(chosen.kind).fit(
            rows,
            first,
            seed=seed,
            checkpoints=None if checkpoints is None else checkpoints / "frozen",
        )
        if not (isinstance(start.head, NetworkHead) and isinstance(first, TrainingOptions)):
            raise ModelError(f"A {chosen.kind} model is no network: choose residual or xasblock.")
        # The same materials as the frozen stage holds out: else its network would know them.
        held = held_out_rows(rows.groups, first.validation_share, seed)
        both = _Both(model, start.head)
        graphs = [model.graph([structure]) for structure in sites.structures]
        wanted = start.head.scaling.wanted(rows.targets)
        known = np.setdiff1d(np.arange(len(rows.features)), held)
        folder = None if checkpoints is None else checkpoints / "together"
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        trained = train(
            both,
            _Places.of(graphs, sites, wanted, known),
            _Places.of(graphs, sites, wanted, held) if len(held) else None,
            chosen,
            seed=seed,
            checkpoints=folder,
            chunk=chosen.batch_size,
        )
        features = both.features(graphs, sites)
        facts: dict[str, Scalar] = {
            **{key: value for key, value in chosen.model_dump().items() if value is not None},
            **{f"frozen.{key}": value for key, value in start.head.facts.items()},
            "epochs": len(trained.losses["train_loss"]),
            "best_epoch": trained.best_epoch,
            "training_seed": seed,
        }
        head = cls(
            blocks=model.blocks,
            state={k: v.numpy() for k, v in both.model.state_dict().items()},
            head=_tuned(start.head, both, rows, features, held),
            facts=facts,
        )
        history = {f"frozen.{name}": losses for name, losses in start.history.items()}
        history |= {f"together.{name}": losses for name, losses in trained.losses.items()}
        return Fitted(head, None, history)

    @cached_property
    def featurizer(self) -> OwnM3GNet:
        """What computes the features that `predict` takes."""
        model = M3GNetBlocks(self.blocks)
        model.load_state_dict({key: torch.from_numpy(value) for key, value in self.state.items()})
        return OwnM3GNet(model.eval().requires_grad_(False), _sha256(self.state))

    @property
    def mean(self) -> FloatArray:
        """Mean training spectrum, shape ``(points,)``."""
        return self.head.mean

    @property
    def size(self) -> int:
        """Features per site that it takes."""
        return self.head.size

    @property
    def points(self) -> int:
        """Energies that it predicts."""
        return self.head.points

    @property
    def hyperparameters(self) -> dict[str, Scalar]:
        """What the model card records."""
        return dict(self.facts)

    def predict(self, features: FloatArray) -> HeadPrediction:
        """Predict the spectra of sites with features from the head's own `featurizer`."""
        return self.head.predict(features)

    def correlation(self, features: FloatArray) -> FloatArray:
        """Return how the errors of sites hang together, shape ``(n_sites, n_sites)``."""
        return self.head.correlation(features)

    def to_bytes(self) -> bytes:
        """Return both networks' weights as one safetensors file."""
        own = {key.replace(".", "/"): value for key, value in self.state.items()}
        described = {"blocks": list(self.blocks), "facts": self.facts}
        return pack({"head": self.head}, described, own)

    @classmethod
    def from_bytes(cls, weights: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ModelError
            If it is cut short, lacks an array, or the shapes do not fit.
        """
        try:
            members, described, own = unpack(weights)
            inner = members["head"]
            if not isinstance(inner, NetworkHead):
                raise ValueError("its head is no network")
            head = cls(
                blocks=tuple(described["blocks"]),
                state={key.replace("/", "."): value for key, value in own.items()},
                head=inner,
                facts=described["facts"],
            )
            if head.featurizer.ref.size != head.size:
                raise ValueError("the arrays differ in shape")
        # torch raises RuntimeError for parameters of another shape.
        except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
            first_line = str(error).strip().splitlines()[0] if str(error).strip() else "unknown"
            raise ModelError(
                f"The model's weights cannot be read ({first_line[:120]}): the file is cut short "
                "or damaged."
            ) from None
        return head


class OwnM3GNet:
    """An M3GNet that was trained further: a featurizer that lives in a model's weights."""

    def __init__(self, model: M3GNetBlocks, sha256: str) -> None:
        self._model = model
        self._ref = FeaturizerRef(
            name=FEATURIZER,
            weights_sha256=sha256,
            options={"model": NAME, "blocks": ",".join(model.blocks)},
            size=model.size,
        )

    @property
    def ref(self) -> FeaturizerRef:
        """Name, weights and options."""
        return self._ref

    @property
    def blocks(self) -> dict[str, int]:
        """Names and widths of the blocks."""
        return {f"{FEATURIZER}:{name}": WIDTH for name in self._model.blocks}

    def features(self, structure: Structure) -> FloatArray:
        """Return the features of all sites, shape ``(n_sites, ref.size)``, in the sites' order."""
        with torch.inference_mode():
            found = self._model(self._model.graph([structure]))
        features: FloatArray = found.numpy().astype(np.float64)
        if not np.all(np.isfinite(features)):
            raise ModelError(
                f"The model's M3GNet gives numbers that are not finite for "
                f"{structure.composition.formula}: look at its coordinates."
            )
        return features


class _Both(nn.Module):
    """M3GNet, the scaling of its features, and the network on them."""

    def __init__(self, model: M3GNetBlocks, head: NetworkHead) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).requires_grad_(True)
        self.network = copy.deepcopy(head.network)
        scaling = (head.scaling.center, head.scaling.scale)
        center, scale = (torch.from_numpy(array.astype(np.float32)) for array in scaling)
        self.register_buffer("center", center)
        self.register_buffer("scale", scale)

    def forward(self, where: tuple[BondGraph, torch.Tensor]) -> torch.Tensor:
        graph, sites = where
        features = self.model(graph)[sites]
        spectra: torch.Tensor = self.network((features - self.center) / self.scale)
        return spectra

    def features(self, graphs: Sequence[BondGraph], sites: Sites) -> FloatArray:
        """Return the features of all rows, shape ``(n, size)``."""
        with torch.inference_mode():
            found = [self.model(graph).numpy().astype(np.float64) for graph in graphs]
        pairs = zip(sites.structure, sites.site, strict=True)
        features: FloatArray = np.stack([found[structure][site] for structure, site in pairs])
        return features


@dataclass(frozen=True, eq=False)
class _Places:
    """Structures with the sites whose spectra are known: an example is a structure."""

    graphs: Sequence[BondGraph]
    sites: Sequence[torch.Tensor]
    targets: Sequence[torch.Tensor]

    @classmethod
    def of(
        cls, graphs: Sequence[BondGraph], sites: Sites, wanted: torch.Tensor, rows: IntArray
    ) -> Self:
        by_structure: dict[int, list[int]] = {}
        for row in rows.tolist():
            by_structure.setdefault(int(sites.structure[row]), []).append(row)
        return cls(
            [graphs[number] for number in by_structure],
            [torch.from_numpy(sites.site[numbers]) for numbers in by_structure.values()],
            [wanted[numbers] for numbers in by_structure.values()],
        )

    def __len__(self) -> int:
        return len(self.graphs)

    def take(self, numbers: torch.Tensor) -> Batch:
        chosen = numbers.tolist()
        graph, firsts = _joined([self.graphs[n] for n in chosen])
        pairs = zip(chosen, firsts, strict=True)
        sites = torch.cat([self.sites[number] + first for number, first in pairs])
        return (graph, sites), torch.cat([self.targets[n] for n in chosen])

    def tensors(self) -> Iterator[torch.Tensor]:
        for graph, sites, targets in zip(self.graphs, self.sites, self.targets, strict=True):
            yield from (graph.kinds, graph.end, graph.vectors, sites, targets)


def _joined(graphs: Sequence[BondGraph]) -> tuple[BondGraph, list[int]]:
    """Return several graphs as one, and the number of each one's first site there."""
    firsts = np.cumsum([0, *(len(graph.kinds) for graph in graphs)])[:-1].tolist()
    numbered = list(zip(graphs, firsts, strict=True))
    return (
        BondGraph(
            kinds=torch.cat([graph.kinds for graph in graphs]),
            start=torch.cat([graph.start + first for graph, first in numbered]),
            end=torch.cat([graph.end + first for graph, first in numbered]),
            vectors=torch.cat([graph.vectors for graph in graphs]),
            member=torch.cat([graph.member + number for number, graph in enumerate(graphs)]),
            structures=len(graphs),
        ),
        firsts,
    )


def _tuned(
    start: NetworkHead, both: _Both, rows: TrainingRows, features: FloatArray, held: IntArray
) -> NetworkHead:
    """Return the head with the network after training, and bars from materials held out."""
    inputs = start.scaling.inputs(features).numpy()
    learned = np.setdiff1d(np.arange(len(features)), held)
    head = replace(start, network=both.network, known=inputs[learned])
    if len(held) == 0:
        return head
    found = head.predict(features[held])
    groups = [rows.groups[number] for number in held]
    bars = ErrorBars.fit(rows.targets[held] - found.mean, found.distance[:, None], groups)
    return replace(head, bars=bars)


def _sha256(state: dict[str, NDArray[Any]]) -> str:
    arrays = {key: np.ascontiguousarray(value) for key, value in state.items()}
    return hashlib.sha256(bytes(save(arrays))).hexdigest()
