"""The published features come out, in the order of the sites, or a sentence says why not."""

from __future__ import annotations

import tarfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError
from nearedge.models.featurizers.m3gnet import M3GNetFeaturizer
from nearedge.models.featurizers.reference import M3GNET_MP_2021_2_8, TOLERANCE

ROWS = 300


@pytest.mark.integration
@pytest.mark.parametrize("reference", M3GNET_MP_2021_2_8, ids=lambda r: r.name)
def test_reference_energies_come_out(m3gnet: M3GNetFeaturizer, reference: object) -> None:
    found = m3gnet.energy_per_atom(reference.structure())  # type: ignore[attr-defined]
    assert found == pytest.approx(reference.energy, abs=TOLERANCE / 3)  # type: ignore[attr-defined]


@pytest.mark.integration
def test_published_copper_rows_come_out_to_rounding(
    m3gnet: M3GNetFeaturizer, shared: Callable[[str], Path]
) -> None:
    published = np.load(shared("data/omnixas/Cu_FEFF_val.npz"))
    rows: dict[str, list[tuple[int, np.ndarray]]] = defaultdict(list)
    for label, features in zip(published["ids"], published["X"], strict=True):
        material, site = str(label).rsplit("_", 1)
        rows[material].append((int(site), features))
    errors: list[float] = []
    with tarfile.open(shared("data/omnixas/cu_feff_calculations.tar.xz")) as archive:
        for member in archive:
            parts = Path(member.name).parts
            if len(errors) >= ROWS:
                break
            if parts[-1] != "POSCAR" or parts[-2] not in rows:
                continue
            file = archive.extractfile(member)
            assert file is not None
            structure = Structure.from_str(file.read().decode(), fmt="poscar")
            found = m3gnet.features(structure)
            for site, features in rows[parts[-2]]:
                error = np.linalg.norm(found[site] - features) / np.linalg.norm(features)
                errors.append(float(error))
    assert len(errors) >= ROWS
    assert max(errors) < 1e-5


@pytest.mark.integration
def test_features_follow_the_sites_whatever_their_order_or_cell(m3gnet: M3GNetFeaturizer) -> None:
    rutile = M3GNET_MP_2021_2_8[1].structure()
    expected = m3gnet.features(rutile)
    order = [3, 0, 5, 1, 4, 2]
    shuffled = Structure.from_sites([rutile[i] for i in order])
    outside = Structure(
        rutile.lattice, rutile.species, rutile.frac_coords + [[3, 0, -2]] * len(rutile)
    )
    assert m3gnet.features(shuffled) == pytest.approx(expected[order], abs=2e-5)
    assert m3gnet.features(outside) == pytest.approx(expected, abs=2e-5)
    # Equivalent sites agree, different elements do not.
    assert expected[0] == pytest.approx(expected[1], abs=2e-5)
    assert np.abs(expected[0] - expected[2]).max() > 0.1


@pytest.mark.integration
def test_the_reference_names_model_block_and_weights(m3gnet: M3GNetFeaturizer) -> None:
    assert m3gnet.ref.name == "m3gnet"
    assert m3gnet.ref.size == 64
    assert m3gnet.ref.options == {"model": "M3GNet-MP-2021.2.8-PES", "block": 3}
    assert m3gnet.ref.weights_sha256 is not None
    assert len(m3gnet.ref.weights_sha256) == 64


@pytest.mark.integration
def test_an_element_that_was_not_trained_is_named(m3gnet: M3GNetFeaturizer) -> None:
    polonium = Structure(Lattice.cubic(3.35), ["Po"], [[0, 0, 0]])
    with pytest.raises(ModelError, match="not trained with Po"):
        m3gnet.features(polonium)


@pytest.mark.integration
def test_a_lone_atom_has_no_surroundings_to_describe(m3gnet: M3GNetFeaturizer) -> None:
    lone = Structure(Lattice.cubic(20.0), ["Cu"], [[0, 0, 0]])
    with pytest.raises(ModelError, match="within 5 Å"):
        m3gnet.features(lone)
