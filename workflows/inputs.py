"""Inputs without a run: folders for those who run a code elsewhere."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nearedge.codes.execution.stage import write_files
from nearedge.codes.finished.sidecar import SIDECAR
from nearedge.errors import OutputError, ResourceError
from nearedge.makers.documents import Site
from nearedge.structures.source import LoadedStructure, Refusal
from nearedge.workflows.spectrum import SpectrumFlowMaker, plan_crystals

SCRIPT = "run.sh"
"""What does by hand what a run here would do."""
_SCRIPT_HEAD = """\
#!/bin/sh
# Runs this calculation: sh run.sh. A command with a launcher is named before it, as in
# NEAREDGE_PW_COMMAND="mpirun -np 8 pw.x" sh run.sh
set -eu
cd "$(dirname "$0")"
"""


@dataclass(frozen=True)
class InputsReport:
    """What was written.

    Parameters
    ----------
    written
        A folder for each site.
    refused
        Structures and sites of which nothing was written, with reasons.
    """

    written: tuple[Path, ...]
    refused: tuple[Refusal, ...] = ()


def write_inputs(
    structures: Sequence[LoadedStructure | Refusal],
    target: Path,
    *,
    absorber: str,
    edge: str = "K",
    codes: Sequence[str] = ("feff",),
    protocol: str = "fast",
    progress: Callable[[int, int], None] | None = None,
) -> InputsReport:
    """Write the inputs of every symmetry-unique site; needs no database, and nothing to run them.

    The folders are ``<target>/<label>/<index>_<element>_<edge>_<code>``, each with a
    ``nearedge.json`` by which `nearedge ingest` knows the results, and a
    ``run.sh`` that runs it. All of them appear, or none.

    Parameters
    ----------
    structures
        As `nearedge.structures.sources.load_structures` gives them; refusals are passed on.
    target
        Folder to write into; made where it does not exist.
    absorber, edge, codes, protocol
        As in `nearedge.workflows.campaign.submit`.
    progress
        Called with the number of structures looked at and their total.

    Raises
    ------
    OutputError
        If a folder exists already, two structures have one name, or nothing can be written.
    """
    makers = [SpectrumFlowMaker.for_code(code, protocol=protocol) for code in codes]
    sites: dict[Path, Site] = {}
    refused: list[Refusal] = []
    for number, loaded in enumerate(structures, start=1):
        for planned in plan_crystals(loaded, makers, absorber, edge):
            if isinstance(planned, Refusal):
                refused.append(planned)
            else:
                refused += _add(sites, target, planned.sites)
        if progress is not None:
            progress(number, len(structures))
    for place in sites:
        if place.exists():
            raise OutputError(f"{place} exists already: choose another folder, or remove it.")
    _write(sites, target)
    return InputsReport(tuple(sites), tuple(refused))


def _add(sites: dict[Path, Site], target: Path, planned: Sequence[Site]) -> Iterator[Refusal]:
    """Give each site its place; yield those that the code refuses."""
    for site in planned:
        if site.refusal is not None:
            yield Refusal(f"{site.label} by {site.inputs.code}", site.refusal.message)
            continue
        place = target / _plain(site.structure.source.label) / _folder(site)
        if sites.setdefault(place, site).calculation_id != site.calculation_id:
            raise OutputError(
                f"Two structures are called {place.parent.name}: give the files different names, "
                "or write each into a folder of its own."
            )


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", name).strip("._") or "structure"


def _folder(site: Site) -> str:
    return f"{site.absorbing_index}_{site.absorber}_{site.edge}_{site.inputs.code}"


def _write(sites: dict[Path, Site], target: Path) -> None:
    """Write all folders beside their places, then move them there, each as a whole."""
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is a file: name a folder to write to.")
    if not sites:
        return
    # Deepest first: what has to go again if this comes to nothing.
    made = [each for each in {place.parent for place in sites} if not each.exists()]
    made += [each for each in (target, *target.absolute().parents) if not each.exists()]
    placed: list[Path] = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".nearedge-") as scratch:
            drafts = {place: Path(scratch, str(n)) for n, place in enumerate(sites)}
            for place, site in sites.items():
                write_files(drafts[place], {**site.inputs.files, **_added(site)})
            for place, draft in drafts.items():
                place.parent.mkdir(exist_ok=True)
                draft.rename(place)
                placed.append(place)
    except BaseException as error:
        for folder in placed:
            shutil.rmtree(folder, ignore_errors=True)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError | ResourceError):
            raise OutputError(f"The inputs cannot be written into {target}: {error}") from error
        raise


def _added(site: Site) -> dict[str, str]:
    """Return what is written beside the input files."""
    lines = site.inputs.by_hand
    script = {SCRIPT: _SCRIPT_HEAD + "\n".join(lines) + "\n"} if lines else {}
    return {**script, SIDECAR: site.sidecar(ran=False)}
