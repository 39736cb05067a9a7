"""Where pretrained weights are found: in packages, in a folder of the operator, in caches.

Searching is cheap and loads no torch; nothing is downloaded unless `download` is called.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from training.engine.config import EngineError

if TYPE_CHECKING:
    from torch import Tensor, nn

# Names a folder of files <timm's name>.safetensors or .pth, or as the authors of the network name them.
FOLDER_VARIABLE = "EXEML_WEIGHTS"
SUFFIXES = (".safetensors", ".pth")


def find_file(timm_name: str, hub_file: str) -> Path | None:
    """The file of a network's weights: from the operator's folder, else a cache of timm or torch."""
    return next((file for file in _possible_files(timm_name, hub_file) if file.is_file()), None)


def find_packaged(package: str) -> Path | None:
    """The weights in an installed package."""
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    return next((file for folder in folders for file in sorted(Path(folder).glob("models/*.pth"))), None)


def load_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU. Raises EngineError where it cannot be read."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        import torch

        stored = torch.load(file, map_location="cpu", weights_only=True)
        return dict(stored.get("model", stored))  # some authors store more beside the weights
    except Exception as problem:  # torch raises many kinds for a broken file, and all mean the same here
        raise EngineError(f"The weights in {file} cannot be read.", "Remove that file.") from problem


def in_timm_names(state: dict[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file of a network's authors by timm's names; none where timm knows no way."""
    convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    try:
        return convert(dict(state), backbone) if convert else {}
    except Exception:  # timm expects a file of this network, and fails in many ways on another's
        return {}


def download(timm_name: str) -> None:
    """Download a network's weights into timm's cache. Raises EngineError where that fails."""
    from training.engine.backbones.timm_loader import load_timm

    try:
        load_timm().create_model(timm_name, pretrained=True)
    except Exception as problem:  # whatever a network raises
        raise EngineError(
            f"The weights of {timm_name} cannot be fetched.",
            f"Check the connection, or copy {timm_name}.safetensors into the folder in {FOLDER_VARIABLE}.",
        ) from problem


def _possible_files(timm_name: str, hub_file: str) -> Iterator[Path]:
    if folder := os.environ.get(FOLDER_VARIABLE):
        yield from (Path(folder) / (timm_name + suffix) for suffix in SUFFIXES)
        if hub_file:
            yield Path(folder) / hub_file
    snapshots = _hugging_face_cache() / f"models--timm--{timm_name}" / "snapshots"
    yield from sorted(snapshots.glob("*/model.safetensors"))
    if hub_file:
        yield _torch_home() / "hub" / "checkpoints" / hub_file


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _hugging_face_cache() -> Path:
    """The cache of the Hugging Face hub, from which timm downloads."""
    home = Path(os.environ.get("HF_HOME") or _cache_folder() / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


def _torch_home() -> Path:
    return Path(os.environ.get("TORCH_HOME") or _cache_folder() / "torch")
