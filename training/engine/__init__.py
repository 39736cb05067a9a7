"""AutoML for image classification: plain values in, files and events out. Importing this loads no torch.

The deeds live in their own modules: `fitting.fit`, `evaluating.evaluate`, `bundle.Bundle`.
"""

import os

# Read by torch's OpenMP when it loads: threads that wait for each other spin for microseconds, not
# milliseconds. With other work on the cores a training step is then twice as quick, on idle ones the same.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from training.engine.config import (
    CandidateReport,
    EngineError,
    Event,
    FitConfig,
    FitResult,
    Hardware,
    Sample,
    Split,
    StoppedBeforeModel,
    StopReason,
)

__all__ = [
    "CandidateReport",
    "EngineError",
    "Event",
    "FitConfig",
    "FitResult",
    "Hardware",
    "Sample",
    "Split",
    "StopReason",
    "StoppedBeforeModel",
]
