"""AutoML for image classification: plain values in, files and events out. Importing this loads no torch.

The deeds live in their own modules: `fitting.fit`, `evaluating.evaluate`, `bundle.Bundle`.
"""

from training.engine.config import (
    CandidateReport,
    EngineError,
    Event,
    FitConfig,
    FitResult,
    Hardware,
    Sample,
    StoppedBeforeModel,
    StopReason,
    Usage,
)

__all__ = [
    "CandidateReport",
    "EngineError",
    "Event",
    "FitConfig",
    "FitResult",
    "Hardware",
    "Sample",
    "StopReason",
    "StoppedBeforeModel",
    "Usage",
]
