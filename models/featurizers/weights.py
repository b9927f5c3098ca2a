"""Finding pretrained M3GNet weights and reading them without running anything from them."""

from __future__ import annotations

import hashlib
import io
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import torch
from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from nearedge.errors import WeightsError

FILES = ("model.pt", "state.pt")
OFFER = "or choose `--featurizer chgnet`, whose package carries its weights"
_HUB_ORGANISATION = "materialyze"
_CONNECT_SECONDS = 3.0


@dataclass(frozen=True)
class Weights:
    """The two files of a matgl model, read.

    Parameters
    ----------
    folder
        Where they are.
    arguments
        What the model's constructor was called with (`model.pt`).
    state
        Parameters by name (`state.pt`).
    sha256
        Of `state.pt`.
    """

    folder: Path
    arguments: Mapping[str, Any]
    state: Mapping[str, torch.Tensor]
    sha256: str


def find_weights(name: str, model_path: Path | None, cache: Path) -> Path:
    """Return the folder of the model `name`: in `model_path`, in matgl's cache, then the hub.

    Parameters
    ----------
    name
        Such as ``M3GNet-MP-2021.2.8-PES``.
    model_path
        The model's own folder, or one that holds several; None looks on.
    cache
        matgl's cache, in its old layout (a folder per model) or the hub's.

    Raises
    ------
    WeightsError
        If they are nowhere, saying where was looked and what else can be done.
    """
    looked = []
    for origin, folders in (
        (f"NEAREDGE_MODEL_PATH ({model_path or 'not set'})", _in_model_path(name, model_path)),
        ("matgl's cache", _in_cache(name, cache)),
    ):
        looked.append(origin)
        for folder in folders:
            if any((folder / file).is_file() for file in FILES):
                return folder
    folder_or_reason = _from_hub(name, cache)
    if isinstance(folder_or_reason, Path):
        return folder_or_reason
    raise WeightsError(
        f"No weights of {name} in {', nor in '.join(looked)}, and the hub {folder_or_reason}: set "
        f"NEAREDGE_MODEL_PATH to a folder that holds {name}, {OFFER}."
    )


def _in_model_path(name: str, model_path: Path | None) -> Iterator[Path]:
    if model_path is not None:
        yield model_path / name
        yield model_path


def _in_cache(name: str, cache: Path) -> Iterator[Path]:
    yield cache / name
    snapshots = cache / f"models--{_HUB_ORGANISATION}--{name}" / "snapshots"
    if snapshots.is_dir():
        yield from sorted(
            snapshots.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True
        )


def _from_hub(name: str, cache: Path) -> Path | str:
    """Return the folder downloaded to, or why there is none."""
    if HF_HUB_OFFLINE:
        return "is switched off (HF_HUB_OFFLINE)"
    # The hub's client retries for half a minute where there is no network; one look tells.
    if not any(os.environ.get(key) for key in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        address = urlsplit(ENDPOINT)
        try:
            socket.create_connection(
                (address.hostname or "", address.port or 443), timeout=_CONNECT_SECONDS
            ).close()
        except OSError:
            return "cannot be reached"
    try:
        paths = [
            Path(
                huggingface_hub.hf_hub_download(
                    f"{_HUB_ORGANISATION}/{name}",
                    file,
                    cache_dir=cache,
                    etag_timeout=_CONNECT_SECONDS,
                )
            )
            for file in FILES
        ]
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        return f"gives none ({type(error).__name__})"
    return paths[0].parent


def read_weights(folder: Path) -> Weights:
    """Read a matgl model's files by torch's restricted loader.

    Raises
    ------
    WeightsError
        If a file is missing, cut short or damaged.
    """
    data: dict[str, bytes] = {}
    for file in FILES:
        try:
            data[file] = (folder / file).read_bytes()
        except OSError as error:
            raise WeightsError(
                f"The weights in {folder} lack {file} ({error.strerror}): copy the model's folder "
                f"again, {OFFER}."
            ) from None
    loaded: dict[str, Mapping[str, Any]] = {}
    for file in FILES:
        try:
            # From the bytes that are hashed: the file may be replaced meanwhile.
            content = torch.load(io.BytesIO(data[file]), map_location="cpu", weights_only=True)
        # torch raises many kinds here (RuntimeError, UnpicklingError, EOFError, ValueError ...),
        # all of which mean that this file is no set of weights.
        except Exception as error:
            first_line = str(error).strip().splitlines()[0] if str(error).strip() else ""
            raise WeightsError(
                f"{folder / file} cannot be read as weights ({type(error).__name__}: "
                f"{first_line[:120]}): it is cut short or damaged; copy it again, {OFFER}."
            ) from None
        if not isinstance(content, Mapping):
            raise WeightsError(f"{folder / file} holds a {type(content).__name__}, no weights.")
        loaded[file] = content
    return Weights(
        folder, loaded["model.pt"], loaded["state.pt"], hashlib.sha256(data["state.pt"]).hexdigest()
    )
