"""A model that was really fitted, on a handful of generated pictures of three textures."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from training.engine.config import Event, FitConfig, Sample

TEXTURES = {"red": (200, 40, 40), "green": (40, 170, 40), "blue": (40, 40, 200)}
PER_LABEL = 6
ROOT = Path(__file__).resolve().parents[2]


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


def fitted_bundle(cache: Path, folder: Path) -> Path:
    """A copy, within `folder`, of a bundle fitted on the samples of `make_samples`.

    It is fitted once, by one of pytest's workers, and again when the engine or a library changes.
    """
    sources = [*sorted((ROOT / "training/engine").rglob("*.py")), ROOT / "requirements.txt", Path(__file__)]
    kept = cache / hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            for earlier in cache.glob("*/"):
                shutil.rmtree(earlier)
            samples = folder / "samples"
            samples.mkdir()
            bundle = fit_until_first_model(make_samples(samples), folder / "fit")
            shutil.copytree(bundle, cache / "unfinished")
            (cache / "unfinished").rename(kept)
        return Path(shutil.copytree(kept, folder / "bundle"))


def fit_until_first_model(samples: list[Sample], workdir: Path) -> Path:
    """The bundle of the first model that the search finds; the limit is for slow machines."""
    from training.engine.fit import fit

    events: list[Event] = []
    config = FitConfig(max_seconds=600, max_inference_ms=7)  # one network fits into 7 ms

    def has_model() -> bool:
        return any(event.kind == "best" for event in events)

    return fit(samples, config, workdir, events.append, has_model).bundle
