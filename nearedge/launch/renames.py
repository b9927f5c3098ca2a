"""Where modules that stored workflows name have moved to.

A workflow in the database stores ``@module`` and ``@class`` (or ``@callable``) of its makers, so a
module path is data. Moving or renaming a module means adding it to `RENAMED_MODULES`; a class that
is renamed keeps an alias of the old name in its module. Documents then load as before, because
importing the old path gives the new module.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_LEARNING = "nearedge.makers.learning"
RENAMED_MODULES: dict[str, str] = {
    "nearedge.makers.describe": f"{_LEARNING}.describe",
    "nearedge.makers.end_to_end": f"{_LEARNING}.end_to_end",
    "nearedge.makers.evaluate": f"{_LEARNING}.evaluate",
    "nearedge.makers.feature_workers": f"{_LEARNING}.feature_workers",
    "nearedge.makers.featurize": f"{_LEARNING}.featurize",
    "nearedge.makers.freeze": f"{_LEARNING}.freeze",
    "nearedge.makers.grids": f"{_LEARNING}.grids",
    "nearedge.makers.judged": f"{_LEARNING}.report",
    "nearedge.makers.judging": f"{_LEARNING}.scores",
    "nearedge.makers.lower_fidelity": f"{_LEARNING}.lower_fidelity",
    "nearedge.makers.predict": f"{_LEARNING}.predict",
    "nearedge.makers.rows": f"{_LEARNING}.rows",
    "nearedge.makers.search": f"{_LEARNING}.search",
    "nearedge.makers.splits": f"{_LEARNING}.splits",
    "nearedge.makers.styles": f"{_LEARNING}.styles",
    "nearedge.makers.surroundings": f"{_LEARNING}.surroundings",
    "nearedge.makers.train": f"{_LEARNING}.train",
    "nearedge.makers.training": f"{_LEARNING}.plan",
}
"""Old module path to new module path, for every move since 0.1.0."""


class _NewModule(Loader):
    """Loads the module that an old path has become."""

    def __init__(self, new_path: str) -> None:
        self.new_path = new_path
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the new module itself, so that its classes are the same objects."""
        module = importlib.import_module(self.new_path)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back, which the import machinery has just replaced."""
        module.__spec__ = self.spec


class _RenameFinder(MetaPathFinder):
    """Finds the modules of `RENAMED_MODULES`; asked last, so an existing module wins."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec that loads the new module, or None for a path that never moved."""
        new_path = RENAMED_MODULES.get(fullname)
        return None if new_path is None else ModuleSpec(fullname, _NewModule(new_path))


def install_renames() -> None:
    """Make old module paths importable; safe to call more than once."""
    if not any(isinstance(finder, _RenameFinder) for finder in sys.meta_path):
        sys.meta_path.append(_RenameFinder())
