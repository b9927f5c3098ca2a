"""The documents of the database, and their forms in other people's formats."""

from nearedge.schemas.calculation import COMPLETED, CalculationDoc, Failure, Parameter
from nearedge.schemas.dataset import DatasetDoc, GridDoc
from nearedge.schemas.model import ModelCard
from nearedge.schemas.spectrum import SpectrumDoc, SpectrumKind
from nearedge.schemas.structure import StructureDoc
from nearedge.structures.source import SourceRef

__all__ = [
    "COMPLETED",
    "CalculationDoc",
    "DatasetDoc",
    "Failure",
    "GridDoc",
    "ModelCard",
    "Parameter",
    "SourceRef",
    "SpectrumDoc",
    "SpectrumKind",
    "StructureDoc",
]
