"""Leakage by group: how much a random split of the same people promises too much, and what holds.

    python -m benchmarks.group_leakage FOLDER [--seeds 3] [--people N] [--minutes 1]

FOLDER holds a folder for each label, `groups.csv` (path,group) that names the person of each image, and
`split.csv` (path,set) whose train and test people are different. The images of the train people are split by
the product's own function, once image by image and once with the person never split; a model is fitted on
each training split with the engine's first head on frozen features. One line of JSON per seed and split: the
accuracy on the validation images with the product's interval, and on the people that the model has not seen.
`holds`: whether that accuracy lies in the interval. With `--people` only so many people, drawn anew for each
seed, are split and trained with.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from projects.datasets.split import LabeledImage, split
from training.engine import Event, FitConfig, Sample
from training.engine.backbones.latency import fastest_network
from training.engine.data import layouts
from training.engine.evaluation.evaluate import evaluate
from training.engine.evaluation.metrics import Rate, report
from training.engine.fit import fit

RATIO = Decimal("0.8")


@dataclass(frozen=True)
class People:
    """Samples of the people to train with, and of the people that no model sees."""

    known: list[Sample]
    unseen: list[Sample]


def read_people(folder: Path) -> People:
    with (folder / "split.csv").open(newline="") as file:
        tests = {row["path"] for row in csv.DictReader(file) if row["set"] == "test"}
    known = layouts.samples_for_fit(folder, None, 0)
    unseen = layouts.samples_for_evaluation(folder)
    assert {str(one.path.relative_to(folder)) for one in unseen} == tests
    assert not {one.group for one in known} & {one.group for one in unseen}, "a person is on both sides"
    return People(known, unseen)


def split_samples(samples: Sequence[Sample], seed: int, *, is_never_split: bool) -> list[Sample]:
    """The samples with the split that the product gives them."""
    numbers = {group: number for number, group in enumerate(sorted({one.group or "" for one in samples}))}
    images = [
        LabeledImage(row, one.id, one.labels, bound=numbers[one.group or ""] if is_never_split else None)
        for row, one in enumerate(samples)
    ]
    splits = split(images, RATIO, f"seed {seed}").splits
    return [
        replace(
            one,
            split="EVAL" if splits[row] == "EVAL" else "TRAIN",
            group=one.group if is_never_split else None,
        )
        for row, one in enumerate(samples)
    ]


def fit_head(samples: Sequence[Sample], options: argparse.Namespace, workdir: Path) -> Path:
    """The bundle of the first head on frozen features."""
    events: list[Event] = []
    config = FitConfig(
        max_seconds=60 * options.minutes,
        max_inference_ms=fastest_network("NV_P4")[2] + 0.01,
        first_model_seconds=600,
        threads=options.threads,
    )
    return fit(
        samples, config, workdir, events.append, lambda: any(one.kind == "best" for one in events)
    ).bundle


def accuracy(bundle: Path, samples: Sequence[Sample], options: argparse.Namespace) -> Rate:
    """The accuracy with the product's interval: images of one group are one unit."""
    found = evaluate(bundle, samples, threads=options.threads)
    group_of = {one.id: one.group for one in samples}
    return report(
        found.labels,
        [one.truth for one in found.predictions],
        [one.predicted for one in found.predictions],
        groups=[group_of[one.id] for one in found.predictions],
    ).accuracy


def draw_people(samples: Sequence[Sample], number: int | None, seed: int) -> list[Sample]:
    names = sorted({one.group or "" for one in samples})
    chosen = set(random.Random(seed).sample(names, number) if number else names)
    return [one for one in samples if (one.group or "") in chosen]


def run(people: People, seed: int, options: argparse.Namespace, *, is_never_split: bool) -> dict[str, object]:
    known = draw_people(people.known, options.people, seed)
    samples = split_samples(known, seed, is_never_split=is_never_split)
    held_out = [one for one in samples if one.split == "EVAL"]
    with tempfile.TemporaryDirectory() as workdir:
        bundle = fit_head(samples, options, Path(workdir))
        validation, unseen = (accuracy(bundle, part, options) for part in (held_out, people.unseen))
    assert validation.value is not None and validation.low is not None and validation.high is not None
    assert unseen.value is not None
    return {
        "seed": seed,
        "split": "never split" if is_never_split else "random",
        "people": len({one.group for one in known}),
        "validation_images": len(held_out),
        "validation": round(validation.value, 3),
        "low": round(validation.low, 3),
        "high": round(validation.high, 3),
        "unseen_people": round(unseen.value, 3),
        "unseen_images": len(people.unseen),
        "holds": validation.low <= unseen.value <= validation.high,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--people", type=int)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    people = read_people(options.folder)
    for seed in range(options.seeds):
        for is_never_split in (False, True):
            print(json.dumps(run(people, seed, options, is_never_split=is_never_split)), flush=True)


if __name__ == "__main__":
    main()
