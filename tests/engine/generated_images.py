"""Generated images that a network can tell apart: stripes of a direction and colour for each label."""

from pathlib import Path

import numpy as np
from PIL import Image

from training.engine import Event, FitConfig, Sample
from training.engine.backbones.latency import fastest_network

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220), "grey": (128, 128, 128)}


def paint(label: str, number: int, side: int = 48) -> Image.Image:
    random = np.random.default_rng([number, *map(ord, label)])
    row, column = np.mgrid[:side, :side]
    along = row if label in ("red", "grey") else column
    wave = (np.sin(along / 3 + random.uniform(0, 6)) > 0)[..., None]
    noise = random.normal(0, 25, (side, side, 3))
    return Image.fromarray(np.clip(wave * np.array(COLOURS[label]) + noise + 20, 0, 255).astype(np.uint8))


def make_samples(
    folder: Path, labels: tuple[str, ...] = ("red", "blue"), train: int = 8, evaluation: int = 4
) -> list[Sample]:
    samples = []
    for label in labels:
        for number in range(train + evaluation):
            path = folder / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            paint(label, number).save(path)
            usage = "TRAIN" if number < train else "EVAL"
            samples.append(Sample(f"{label}-{number}", path, (label,), usage))
    return samples


def quick_config(**changes: object) -> FitConfig:
    """Only the fastest network fits this limit."""
    settings = {"max_seconds": 120, "max_inference_ms": fastest_network("NV_P4")[2] + 0.01, "threads": 1}
    return FitConfig(**(settings | changes))


class Diary:
    """Keeps the events, and stops after the first of a kind."""

    def __init__(self, stop_after: str | None = None) -> None:
        self.events: list[Event] = []
        self.stop_after = stop_after

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def should_stop(self) -> bool:
        return any(event.kind == self.stop_after for event in self.events)
