"""M3GNet as a potential: energy, forces and stress, for relaxing structures with ASE.

It is the network of `nearedge.models.featurizers.m3gnet`, whose messages are summed where the
published weights need it; matgl 4.1.2's own calculator is wrong for every compound
(`nearedge.compat.sum_messages_at_destination`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from pymatgen.core.structure import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from nearedge.errors import ModelError
from nearedge.models.featurizers.m3gnet import M3GNetFeaturizer, load_m3gnet
from nearedge.models.featurizers.m3gnet_blocks import M3GNetBlocks
from nearedge.spectra.spectrum import FloatArray


@dataclass(frozen=True, eq=False)
class PotentialValues:
    """What the potential says of a structure.

    Parameters
    ----------
    energy
        eV.
    forces
        eV/Å, shape ``(n_sites, 3)``.
    stress
        eV/Å³, shape ``(3, 3)``: positive where the crystal pulls, as in ASE.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray

    @property
    def max_force(self) -> float:
        """Length of the longest force, in eV/Å."""
        return float(np.linalg.norm(self.forces, axis=1).max())

    @property
    def pressure(self) -> float:
        """Hydrostatic part of the stress, positive where the crystal pushes, in eV/Å³."""
        return -float(np.trace(self.stress)) / 3


class M3GNetCalculator(Calculator):
    """M3GNet-MP-2021.2.8 as a calculator of ASE, for periodic structures.

    It computes in eight bytes: forces then agree with differences of energies, which the optimizers
    of ASE need to come to rest.

    Parameters
    ----------
    model_path
        Folder with the weights, as the setting `model_path`; None looks where matgl does.

    Attributes
    ----------
    evaluations
        How often ASE had the potential evaluated.

    Raises
    ------
    WeightsError
        If the weights are missing, damaged, another model's, or give wrong reference energies.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 - as ASE declares it

    def __init__(self, model_path: str | Path | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._m3gnet = load_m3gnet(None if model_path is None else Path(model_path))
        self._m3gnet.model.double()
        self.evaluations = 0

    @property
    def weights_sha256(self) -> str:
        """Of the parameters that it computes with."""
        return str(self._m3gnet.ref.weights_sha256)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute energy in eV, forces in eV/Å, and stress in eV/Å³ in the order of Voigt.

        Raises
        ------
        ModelError
            If the network does not know an element, no two atoms are within its cutoff, or a number
            is not finite.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        structure: Structure = AseAtomsAdaptor.get_structure(self.atoms)  # type: ignore[arg-type]
        found = self.of(structure)
        self.evaluations += 1
        self.results = {
            "energy": found.energy,
            "forces": found.forces,
            "stress": found.stress[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)],
        }

    def of(self, structure: Structure) -> PotentialValues:
        """Return what the potential says of a structure.

        Raises
        ------
        ModelError
            See `calculate`.
        """
        return potential_values(self._m3gnet, structure)


def outside_of_m3gnet(structure: Structure) -> str | None:
    """Return why the potential cannot be asked about a structure, or None where it can."""
    try:
        M3GNetBlocks.graph([structure])
    except ModelError as error:
        return str(error)
    return None


def potential_values(m3gnet: M3GNetFeaturizer, structure: Structure) -> PotentialValues:
    """Return energy, forces and stress.

    The energy hangs on the bonds' vectors d alone. An atom that moves takes the ends of its bonds
    along; a strain ε turns d into (1 + ε)d. So with g = ∂E/∂d, a force is the sum of g over the
    bonds that start at the atom less those that end at it, and the stress is Σ g⊗d / V.

    Raises
    ------
    ModelError
        See `M3GNetCalculator.calculate`.
    """
    graph = m3gnet.model.graph([structure])
    graph.vectors.requires_grad_(True)
    total = m3gnet.total_energy(graph)
    (slope,) = torch.autograd.grad(total, graph.vectors)
    forces = torch.zeros(len(structure), 3, dtype=slope.dtype)
    forces = forces.index_add(0, graph.start, slope).index_add(0, graph.end, -slope)
    virial = (slope.T @ graph.vectors.detach()).numpy()
    energy = float(total.detach())
    if not np.isfinite(energy) or not np.all(np.isfinite(forces.numpy())):
        raise ModelError(
            f"M3GNet gives numbers that are not finite for {structure.composition.formula}: look "
            "at its coordinates."
        )
    stress = (virial + virial.T) / (2 * structure.lattice.volume)
    return PotentialValues(energy, forces.numpy(), stress)
