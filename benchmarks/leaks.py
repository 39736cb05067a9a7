"""The effect of duplicates on the reported accuracy: the product's split beside a random one.

    python -m benchmarks.leaks [FOLDER] [--images 278] [--files 1872] [--minutes 2] [--seed 0]

FOLDER holds a folder of photos for each label; without it, images of polygons of three to seven corners are
drawn, blurred and noisy enough to be hard. `--images` of them are copied to `--files` files: saved again,
resized, lightened, cropped, rotated or mirrored. They are split once as the product does, which keeps
duplicates together (0.8), and once at random by class. From each split the engine is fitted for the same
minutes; printed is one JSON object with the accuracy on the split's own validation side (its Wilson interval
counts distinct images, since duplicates add no information) and on all photos of the folder that were not
among the images.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.duplicates import ALTERATIONS, rotated
from projects.datasets.split import EVAL, LabeledImage, split
from training.engine.config import FitConfig, Sample
from training.engine.data.duplicates import group_files
from training.engine.data.images import load_rgb
from training.engine.data.layouts import SUFFIXES
from training.engine.evaluation.evaluate import evaluate
from training.engine.evaluation.metrics import wilson
from training.engine.fit import fit

RATIO, THREADS, DRAWN = Decimal("0.8"), 2, 900
Copy = tuple[Path, str, int]  # file, label, number of the image


def draw_photos(folder: Path, seed: int) -> Path:
    """DRAWN images of polygons; the number of corners is the label."""
    chance = np.random.default_rng(seed)
    for number in range(DRAWN):
        corners = 3 + number % 5
        picture = Image.fromarray(chance.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        picture = picture.resize((256, 256), Image.Resampling.BICUBIC)
        x, y, radius, turn = chance.uniform([80, 80, 40, 0], [176, 176, 76, 7])
        angles = turn + 2 * np.pi * np.arange(corners) / corners + chance.normal(0, 0.15, corners)
        points = [(x + radius * np.cos(one), y + radius * np.sin(one)) for one in angles]
        colour = tuple(int(one) for one in chance.integers(0, 256, 3))
        ImageDraw.Draw(picture).polygon(points, fill=colour)
        picture = picture.filter(ImageFilter.GaussianBlur(chance.uniform(1, 6)))
        pixels = np.asarray(picture, np.float64) + chance.normal(0, 12, (256, 256, 3))
        path = folder / f"{corners} corners" / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def photos_of(folder: Path, chance: random.Random) -> list[Path]:
    found = [path for path in sorted(folder.glob("*/*")) if path.suffix.lower() in SUFFIXES]
    chance.shuffle(found)
    return found


def make_copies(pictures: list[Path], files: int, target: Path, chance: random.Random) -> list[Copy]:
    """Each image about equally often; the first time as it is."""
    made = []
    for number in range(files):
        source = number % len(pictures)
        image = load_rgb(pictures[source])
        if number >= len(pictures):
            image = rotated(chance.choice(list(ALTERATIONS.values()))(image, chance), chance)
        path = target / f"{number:05d}.jpg"
        image.convert("RGB").resize(_smaller(image), Image.Resampling.BICUBIC).save(path, quality=92)
        made.append((path, pictures[source].parent.name, source))
    return made


def _smaller(image: Image.Image) -> tuple[int, int]:
    scale = min(1.0, 400 / min(image.size))
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))


def split_as_the_product(copies: list[Copy]) -> dict[int, str]:
    groups = group_files([path for path, _, _ in copies], THREADS).tolist()
    labeled = [
        LabeledImage(place, f"{place:064x}", (label,), "", groups[place])
        for place, (_, label, _) in enumerate(copies)
    ]
    return split(labeled, RATIO, "leaks").splits


def split_at_random(copies: list[Copy]) -> dict[int, str]:
    labeled = [LabeledImage(place, f"{place:064x}", (label,)) for place, (_, label, _) in enumerate(copies)]
    return split(labeled, RATIO, "leaks").splits


def evaluated(
    copies: list[Copy], sides: dict[int, str], unseen: list[Sample], minutes: float, seed: int
) -> dict[str, object]:
    samples = [
        Sample(path.stem, path, (label,), "EVAL" if sides[place] == EVAL else "TRAIN")
        for place, (path, label, _) in enumerate(copies)
    ]
    trained = {copies[place][2] for place, side in sides.items() if side != EVAL}
    validated = [copies[place][2] for place, side in sides.items() if side == EVAL]
    with tempfile.TemporaryDirectory() as work:
        config = FitConfig(max_seconds=60 * minutes, seed=seed, device="cpu", threads=THREADS)
        bundle = fit(samples, config, Path(work), lambda event: None, lambda: False).bundle
        own = evaluate(bundle, [one for one in samples if one.split == "EVAL"], threads=THREADS).report
        true = evaluate(bundle, unseen, threads=THREADS).report
    reported, distinct = own.accuracy.value or 0.0, len(set(validated))
    interval = wilson(round(reported * distinct), distinct)
    return {
        "validation_files": own.n,
        "validation_pictures": distinct,
        "files_with_a_copy_in_training": sum(picture in trained for picture in validated),
        "reported": round(reported, 4),
        "interval": [round(interval.low or 0, 4), round(interval.high or 0, 4)],
        "unseen": round(true.accuracy.value or 0.0, 4),
        "unseen_pictures": true.n,
        "is_within": (interval.low or 0) <= (true.accuracy.value or 0) <= (interval.high or 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=278)
    parser.add_argument("--files", type=int, default=1872)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    drawn = tempfile.TemporaryDirectory()
    photos = photos_of(asked.folder or draw_photos(Path(drawn.name), asked.seed), chance)
    pictures, rest = photos[: asked.images], photos[asked.images :]
    unseen = [Sample(path.stem, path, (path.parent.name,), "EVAL") for path in rest]
    with tempfile.TemporaryDirectory() as target:
        copies = make_copies(pictures, asked.files, Path(target), chance)
        found = {
            "pictures": len(pictures),
            "files": len(copies),
            "minutes": asked.minutes,
            "seed": asked.seed,
        }
        for name, sides in (("ours", split_as_the_product(copies)), ("random", split_at_random(copies))):
            found[name] = evaluated(copies, sides, unseen, asked.minutes, asked.seed)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
