"""NearEdge: databases of simulated X-ray absorption spectra, and models that learn from them."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    __version__ = version("nearedge")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

# makers/, workflows/ and models/ stand beside this folder in a checkout. An interpreter started in
# the checkout's root imports this file before the installed package, so it must find them too.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "makers").is_dir() and (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))
