"""What a user asked for, as queries to the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from nearedge.cli.options import separated
from nearedge.codes import code_names
from nearedge.codes.protocols import load_protocol
from nearedge.errors import NearEdgeError
from nearedge.schemas import SpectrumDoc
from nearedge.schemas.broadened import BroadeningRequest, broadened
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore


@dataclass(frozen=True)
class Filters:
    """The filters that `query`, `plot` and `export` share; None leaves a thing open."""

    absorber: str | None = None
    edge: str | None = None
    code: str | None = None
    protocol: str | None = None
    formula: str | None = None
    elements: str | None = None
    chemsys: str | None = None
    project: str | None = None
    structure_id: str | None = None
    state: str | None = None

    def spectra(
        self, kind: str | None = None, spectrum_ids: Sequence[str] | None = None
    ) -> SpectrumQuery:
        """Return the query for spectra."""
        return SpectrumQuery(**self._conditions(), kind=kind, spectrum_ids=spectrum_ids or None)

    def calculations(self, failed: bool | None = None) -> CalculationQuery:
        """Return the query for calculations."""
        return CalculationQuery(**self._conditions(), failed=failed)

    def _conditions(self) -> dict[str, object]:
        conditions: dict[str, object] = asdict(self)
        conditions["elements"] = separated(self.elements) or None
        conditions["protocol"] = self._protocol_label()
        return conditions

    def _protocol_label(self) -> str | None:
        """Return the label that documents carry, where only a name was given."""
        code = self.code or "feff"
        if self.protocol is None or "@" in self.protocol or code not in code_names():
            return self.protocol
        try:
            return load_protocol(code, self.protocol).label
        except NearEdgeError:
            return self.protocol  # ingested results carry labels that are no protocol of ours


def broadening_of(text: str | None) -> Callable[[SpectrumDoc], SpectrumDoc]:
    """Return what `--broaden` does to a spectrum; without it, nothing.

    Raises
    ------
    SpectrumError
        If the text is no broadening.
    """
    if text is None:
        return lambda document: document
    request = BroadeningRequest.parse(text)
    return lambda document: broadened(document, request)


def structure_names(store: SpectraStore, documents: Sequence[SpectrumDoc]) -> dict[str, str]:
    """Return what people call the structures of `documents`, by `structure_key`."""
    structures = store.structures({document.structure_key for document in documents})
    return {key: structure.source.label for key, structure in structures.items()}
