"""Whether this machine has a GPU that PyTorch can use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Device files of NVIDIA, AMD and Windows' subsystem for Linux. Without one of them PyTorch finds no GPU.
DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
QUESTION = "import torch; print(torch.cuda.is_available())"
TIMEOUT_S = 120


def has_gpu() -> bool | None:
    """Asks PyTorch in a process of its own, as workers must not import it. None if that gave no answer."""
    if not any(Path(device).exists() for device in DEVICES):
        return False
    try:
        asked = subprocess.run(
            [sys.executable, "-c", QUESTION], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip() == "True"
