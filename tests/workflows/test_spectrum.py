"""A crystal's flow: every symmetry-unique absorber, then an average that no failed site blocks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from jobflow import OnMissing
from pymatgen.core import Lattice, Structure

from nearedge.errors import InputRefused, StructureError
from nearedge.makers.feff import FeffMaker
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.spectrum import SpectrumFlowMaker

Molecule = Callable[[str], LoadedStructure]


def test_a_crystal_has_one_job_for_each_kind_of_site_and_one_average() -> None:
    rutile = Structure.from_spacegroup(
        "P4_2/mnm",
        Lattice.tetragonal(4.594, 2.959),
        ["Ti", "O"],
        [[0, 0, 0], [0.3053, 0.3053, 0]],
    )
    flow = SpectrumFlowMaker().make(rutile, "O")
    site, average = flow.jobs
    assert isinstance(site.maker, FeffMaker)
    assert average.function_args[0][0].multiplicity == 4
    assert site.uuid in average.input_uuids


def test_sites_in_the_middle_of_the_structure_are_named_by_their_index(molecule: Molecule) -> None:
    flow = SpectrumFlowMaker().make(molecule("CCO").structure, "C", "K")
    assert [job.function_args[1] for job in flow.jobs[:-1]] == [0, 1]
    assert "C1 K" in flow.jobs[1].name


def test_a_site_that_fizzles_does_not_block_the_average(molecule: Molecule) -> None:
    average = SpectrumFlowMaker().make(molecule("CO").structure, "C").jobs[-1]
    assert average.config.on_missing_references == OnMissing.NONE


def test_the_edge_and_the_project_reach_every_job(molecule: Molecule) -> None:
    flow = SpectrumFlowMaker.for_code("feff", project="p").make(
        molecule("CO and CuO").structure, "Cu", "L3"
    )
    assert [job.maker.project for job in flow.jobs] == ["p", "p"]
    assert flow.jobs[0].maker.edge == "L3"


def test_what_cannot_be_computed_is_refused_before_a_job_exists(molecule: Molecule) -> None:
    with pytest.raises(StructureError, match="Ti"):
        SpectrumFlowMaker().make(molecule("CO").structure, "Ti")
    with pytest.raises(InputRefused, match="known"):
        SpectrumFlowMaker.for_code("feef")
