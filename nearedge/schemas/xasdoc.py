"""The Materials Project's form of a spectrum: emmet-core's ``XASDoc``, and the way back.

``XASDoc`` has no place for the protocol, the unit, the broadening and more. What it has no field
for travels beside it, under `SIDECAR`, so that nothing is lost; readers that know only emmet pass
over it.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from emmet.core.mpid import AlphaID
from emmet.core.types.enums import XasEdge
from emmet.core.xas import XASDoc
from pydantic import ValidationError
from pymatgen.analysis.xas.spectrum import XAS

from nearedge.errors import SchemaError, SpectrumError
from nearedge.schemas.spectrum import SpectrumDoc
from nearedge.schemas.structure import StructureDoc

SIDECAR = "nearedge"
"""Key, beside the fields of ``XASDoc``, of what it has no field for."""

SPECTRUM_TYPE = "XANES"

_NOT_POSITIVE = (
    "absorption is not positive everywhere; emmet reads such points as 1e-12, the values are kept "
    "in the field `nearedge`"
)


def to_xasdoc(spectrum: SpectrumDoc, structure: StructureDoc) -> tuple[XASDoc, dict[str, Any]]:
    """Return the spectrum as emmet has it, and a JSON document that emmet validates.

    Parameters
    ----------
    spectrum
        A site's spectrum or an average.
    structure
        The structure it belongs to.

    Returns
    -------
    XASDoc
        Its `task_id` is the spectrum's id in emmet's alphabet, so that its `spectrum_id` reads
        ``<id>-XANES-<element>-<edge>``.
    dict
        The same as plain JSON, with what ``XASDoc`` has no field for under `SIDECAR`;
        `from_xasdoc` turns it back into `spectrum`, digit for digit.

    Raises
    ------
    SpectrumError
        If emmet does not know the edge, or the structure is another one.

    Notes
    -----
    ``XASDoc.from_task_docs`` is not used: it raises on real dates. emmet's adapter replaces
    absorption of zero and below by 1e-12 without a word when it reads JSON; then the document says
    so in its `warnings` and the true values are in the sidecar.
    """
    _check(spectrum, structure)
    document = XASDoc.from_spectrum(
        xas_spectrum=_xas(spectrum, structure),
        task_id=_task_id(spectrum.spectrum_id),
        last_updated=spectrum.created_at,
        warnings=_warnings(spectrum) or None,
    )
    record: dict[str, Any] = document.model_dump(mode="json")
    record[SIDECAR] = {
        "spectrum": spectrum.model_dump(mode="json", exclude=_excluded(spectrum)),
        "structure_key": structure.structure_key,
        "source": structure.source.model_dump(mode="json"),
    }
    record["spectrum_id"] = document.spectrum_id
    return document, record


def from_xasdoc(record: dict[str, Any]) -> SpectrumDoc:
    """Return the spectrum document that `to_xasdoc` was given.

    Parameters
    ----------
    record
        The JSON document that `to_xasdoc` returned.

    Raises
    ------
    SchemaError
        If the document has no sidecar, or does not validate.
    """
    try:
        kept = record[SIDECAR]["spectrum"]
        arrays = record["spectrum"]
        fields = {"energy": arrays["x"], "absorption": arrays["y"]} | kept
        return SpectrumDoc.model_validate(fields)
    except (KeyError, TypeError) as error:
        raise SchemaError(
            f"The document has no {error} as NearEdge writes it: import it as another's spectrum."
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SchemaError(
            f"The document's sidecar does not hold a spectrum: {first['loc'][0]}, {first['msg']}."
        ) from None


def _check(spectrum: SpectrumDoc, structure: StructureDoc) -> None:
    if structure.structure_key != spectrum.structure_key:
        raise SpectrumError(
            f"Spectrum {spectrum.spectrum_id} belongs to structure {spectrum.structure_key}, not "
            f"to {structure.structure_key}."
        )
    known = [edge.value for edge in XasEdge]
    if _edge(spectrum) not in known:
        raise SpectrumError(
            f"emmet has no {spectrum.edge} edge, only {', '.join(known)}: export spectrum "
            f"{spectrum.spectrum_id} as XDI or JSON."
        )


def _edge(spectrum: SpectrumDoc) -> str:
    """Return the edge in emmet's spelling."""
    return "L2,3" if spectrum.edge == "L23" else spectrum.edge


def _xas(spectrum: SpectrumDoc, structure: StructureDoc) -> XAS:
    with warnings.catch_warnings():
        # "Double check the intensities": said in the document instead.
        warnings.simplefilter("ignore", UserWarning)
        return XAS(
            spectrum.energy,
            spectrum.absorption,
            structure.to_structure(),
            spectrum.absorber,
            edge=_edge(spectrum),
            spectrum_type=SPECTRUM_TYPE,
            absorbing_index=spectrum.absorbing_index,
        )


def _warnings(spectrum: SpectrumDoc) -> list[str]:
    return spectrum.warnings + ([] if _positive(spectrum) else [_NOT_POSITIVE])


def _positive(spectrum: SpectrumDoc) -> bool:
    return all(math.isfinite(value) and value > 0 for value in spectrum.absorption)


def _excluded(spectrum: SpectrumDoc) -> set[str]:
    return {"energy", "absorption"} if _positive(spectrum) else {"energy"}


def _task_id(spectrum_id: str) -> AlphaID:
    """Return the number that the hexadecimal id is, in emmet's alphabet; it can be turned back."""
    try:
        return AlphaID(int(spectrum_id, 16))
    except ValueError:
        raise SpectrumError(
            f"Spectrum id {spectrum_id!r} is not hexadecimal, as NearEdge makes them: emmet "
            "cannot spell it."
        ) from None
