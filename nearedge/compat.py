"""What other packages need on this stack, each with its reason.

`tests/test_compat.py` fails as soon as upstream no longer needs one of these.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from nearedge.errors import SettingsError


@cache
def lightshow_feff_parameters() -> Any:
    """Return lightshow 1.2.8's class ``FEFFParameters``.

    ``import lightshow`` fails: its VASP module imports ``pymatgen.io.vasp.sets.DictSet``, which
    pymatgen renamed ``VaspInputSet``, and its database module wants the ``mp_api`` client. Both
    come from lightshow's ``__init__``, and the FEFF module needs neither, so the FEFF module is
    imported under a bare package that is taken away again: nobody else sees a half-made
    ``lightshow``.

    Raises
    ------
    SettingsError
        If lightshow is not installed.
    """
    spec = find_spec("lightshow")
    if spec is None or spec.submodule_search_locations is None:
        raise SettingsError(
            "The package lightshow, which makes FEFF's input, is not installed: run "
            "`pip install --no-deps lightshow==1.2.8`."
        )
    before = {name: module for name, module in sys.modules.items() if _is_lightshow(name)}
    if "lightshow" not in before:
        bare = ModuleType("lightshow")
        bare.__path__ = list(spec.submodule_search_locations)
        sys.modules["lightshow"] = bare
    try:
        return import_module("lightshow.parameters.feff").FEFFParameters
    finally:
        if "lightshow" not in before:
            for name in [name for name in sys.modules if _is_lightshow(name)]:
                del sys.modules[name]


def _is_lightshow(name: str) -> bool:
    return name == "lightshow" or name.startswith("lightshow.")
