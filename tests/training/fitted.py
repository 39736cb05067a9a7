"""A model that was really fitted, on a handful of generated pictures of three textures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from training.engine.config import Event, FitConfig, Sample

TEXTURES = {"red": (200, 40, 40), "green": (40, 170, 40), "blue": (40, 40, 200)}
PER_LABEL = 6


def make_samples(folder: Path) -> list[Sample]:
    """Six noisy pictures for each of three labels, the last one for evaluation."""
    noise = np.random.default_rng(0)
    samples = []
    for label, colour in TEXTURES.items():
        for number in range(PER_LABEL):
            path = folder / f"{label}-{number}.png"
            pixels = np.clip(noise.normal(colour, 40, (72, 96, 3)), 0, 255).astype(np.uint8)
            Picture.fromarray(pixels).save(path)
            usage = "EVAL" if number == PER_LABEL - 1 else "TRAIN"
            samples.append(Sample(path.stem, path, (label,), usage))
    return samples


def fit_until_first_model(samples: list[Sample], workdir: Path) -> Path:
    """The bundle of the first model that the search finds; the limit is for slow machines."""
    from training.engine.fit import fit

    events: list[Event] = []
    config = FitConfig(max_seconds=600, max_inference_ms=7)  # one network fits into 7 ms

    def has_model() -> bool:
        return any(event.kind == "best" for event in events)

    return fit(samples, config, workdir, events.append, has_model).bundle
