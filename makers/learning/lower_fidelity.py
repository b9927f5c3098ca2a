"""The spectra by another code that a model takes of a structure's sites, from the database."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymatgen.core.structure import Structure

from nearedge.errors import DatabaseError, ModelError
from nearedge.makers.learning.grids import on_grid
from nearedge.models.prediction import sites_of
from nearedge.models.trained import TrainedModel
from nearedge.schemas import DatasetDoc, SpectrumKind
from nearedge.spectra.spectrum import FloatArray
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.absorbers import unique_absorbers
from nearedge.structures.identity import structure_key


def stored_inputs(
    model: TrainedModel,
    structures: Sequence[Structure],
    labels: Sequence[str],
    absorber: str,
    *,
    all_sites: bool = False,
) -> list[dict[int, FloatArray]]:
    """Return the spectra that a model takes of each structure's sites, by index of the site.

    They are those of the code, protocol and parameters that the model learned with. Sites that lack
    one are left out where the model can predict it, and so are all without a database that has the
    model's input data set.

    Parameters
    ----------
    labels
        What to call the structures.
    all_sites
        Also those of sites that are equivalent to others.

    Returns
    -------
    list of dict
        Spectra of shape ``(points,)`` for each structure; empty for a model that takes none.

    Raises
    ------
    ModelError
        If a site lacks a spectrum that the model cannot predict, saying how to compute it.
    SpectrumError
        If a spectrum does not cover the energies that the model takes.
    """
    card = model.card
    if not card.takes_spectra or card.input_dataset is None:
        return [{} for _ in structures]
    try:
        database = connect()
        inputs = DatasetStore(database).get(card.input_dataset)
    except DatabaseError as error:
        if model.input_model is not None:
            return [{} for _ in structures]
        raise ModelError(
            f"The model {card.name} takes spectra that another code computed, and the database "
            f"with their data set {card.input_dataset} is not at hand: {error}"
        ) from None
    found = []
    for structure, label in zip(structures, labels, strict=True):
        spectra = _computed(database, inputs, structure, absorber)
        wanted = [site for site, _ in sites_of(structure, absorber, all_sites=all_sites)]
        lacking = [site for site in wanted if site not in spectra]
        if lacking and model.input_model is None:
            raise ModelError(
                f"{label}: the model {card.name} takes the {inputs.code} spectrum of each "
                f"{absorber} site, and {len(lacking)} of {len(wanted)} have none in the database: "
                f"compute them with `nearedge submit STRUCTURE --absorber {absorber} --edge "
                f"{inputs.edge} --code {inputs.code} --protocol {inputs.protocol}` and `nearedge "
                "run`."
            )
        found.append(spectra)
    return found


def _computed(
    database: MongoDatabase, inputs: DatasetDoc, structure: Structure, absorber: str
) -> dict[int, FloatArray]:
    query = SpectrumQuery(
        kind=SpectrumKind.SITE,
        structure_key=structure_key(structure),
        absorber=absorber,
        edge=inputs.edge,
        code=inputs.code,
        protocol=inputs.protocol,
        parameters_id=inputs.parameters_id,
    )
    stored: dict[int, FloatArray] = {}
    for document in SpectraStore(database).spectra(query):
        if document.absorbing_index is not None:
            spectrum = document.to_spectrum().to_unit(inputs.unit)
            stored[document.absorbing_index] = on_grid(spectrum, inputs.grid, absorber)
    found: dict[int, FloatArray] = {}
    for orbit in unique_absorbers(structure, absorber):
        computed = [stored[site] for site in orbit.equivalent if site in stored]
        if computed:
            # Equivalent sites have one spectrum; where several were computed they differ by noise.
            mean: FloatArray = np.mean(computed, axis=0)
            found.update((site, mean) for site in orbit.equivalent)
    return found
