"""The only import of timm and torchvision.

torchvision's Linux wheel is built for CUDA. Beside a CPU-only torch its C++ operators do not load,
and `import torchvision` raises `operator torchvision::nms does not exist` from a module that only
describes those operators. Classification needs none of them, so that module is left out, and only
where the operators are missing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

_META_REGISTRATIONS = "torchvision._meta_registrations"


def load_timm() -> ModuleType:
    """timm, imported so that torchvision beneath it works."""
    if "torchvision" not in sys.modules and not _has_operators():
        sys.modules.setdefault(_META_REGISTRATIONS, ModuleType(_META_REGISTRATIONS))
    return importlib.import_module("timm")


def _has_operators() -> bool:
    """True where torchvision's compiled operators load beside this torch."""
    spec = importlib.util.find_spec("torchvision")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for library in (file for folder in folders for file in Path(folder).glob("_C*.so")):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            return False
        return True
    return False


def gpu_name() -> str:
    """The name of the GPU."""
    return str(torch.cuda.get_device_name())
