"""Inputs without a run: folders for those who run a code elsewhere."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from nearedge.codes.execution.stage import write_files
from nearedge.codes.finished.sidecar import SIDECAR, sidecar_text
from nearedge.errors import OutputError, ResourceError, StructureError
from nearedge.makers.documents import Site
from nearedge.schemas import StructureDoc
from nearedge.structures.checks import check_structure
from nearedge.structures.source import LoadedStructure, Refusal
from nearedge.workflows.spectrum import SpectrumFlowMaker, plan_sites

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

    The folders are ``<target>/<name>/<index>_<element>_<edge>_<code>``, where the name is the
    file's, each with a ``nearedge.json`` by which `nearedge ingest` knows the results, and a
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
    names = _names([each.source.label for each in structures if isinstance(each, LoadedStructure)])
    sites: dict[Path, Site] = {}
    refused: list[Refusal] = []
    for number, loaded in enumerate(structures, start=1):
        for planned in _planned(loaded, makers, absorber, edge):
            if isinstance(planned, Refusal):
                refused.append(planned)
                continue
            place = target / names[planned.structure.source.label] / _folder(planned)
            if sites.setdefault(place, planned).calculation_id != planned.calculation_id:
                raise OutputError(
                    f"Two structures are called {place.parent.name}: give the files different "
                    "names, or write each into a folder of its own."
                )
        if progress is not None:
            progress(number, len(structures))
    for place in sites:
        if place.exists():
            raise OutputError(f"{place} exists already: choose another folder, or remove it.")
    _write(sites, target)
    return InputsReport(tuple(sites), tuple(refused))


def _planned(
    loaded: LoadedStructure | Refusal,
    makers: Sequence[SpectrumFlowMaker],
    absorber: str,
    edge: str,
) -> Iterator[Site | Refusal]:
    if isinstance(loaded, Refusal):
        yield loaded
        return
    label = loaded.source.label
    try:
        check_structure(loaded.structure, absorber, label=label)
        document = StructureDoc.from_structure(loaded.structure, loaded.source)
        for maker in makers:
            for site in plan_sites(maker.site_maker, document, absorber, edge):
                if site.refusal is None:
                    yield site
                else:
                    yield Refusal(site.label, site.refusal.message)
    except StructureError as error:
        yield Refusal(label, str(error))


def _names(labels: Sequence[str]) -> dict[str, str]:
    """Return a folder's name for each label, which may be any path: its end, as far as it takes.

    ``a/anatase.cif`` is ``anatase``, unless there is a ``b/anatase.cif``: then ``a_anatase``.
    """
    paths = {label: PurePath(label) for label in labels}
    longest = max((len(path.parts) for path in paths.values()), default=1)
    names: dict[str, str] = {}
    for count in range(1, longest + 1):
        names = {
            label: _plain("_".join([*path.parts[-count:-1], path.stem]))
            for label, path in paths.items()
        }
        if len(set(names.values())) == len(names):
            break
    return names


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
    sidecar = sidecar_text(
        site.inputs,
        site.structure.to_structure(),
        site.absorbing_index,
        site.edge,
        label=site.structure.source.label,
        ran=False,
    )
    lines = site.inputs.by_hand
    script = {SCRIPT: _SCRIPT_HEAD + "\n".join(lines) + "\n"} if lines else {}
    return {**script, SIDECAR: sidecar}
