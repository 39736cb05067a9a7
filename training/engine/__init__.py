"""AutoML for image classification: plain values in, files and events out. Importing this loads no torch.

Entry points: `fit.fit`, `evaluation.evaluate.evaluate`, `bundle.bundle.Bundle`.
"""

import os

# torch's OpenMP reads this when it loads: waiting threads spin for microseconds, not milliseconds. With other
# work on the cores a training step then takes half the time; on idle cores nothing changes.
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
