"""The gain of a head on frozen features from rotated images, and whether the engine would use them.

    python -m benchmarks.turned DATA [--train 1000] [--test 2000] [--upright]

DATA is a layout with test images. All images are rotated by random quarter turns, as in photos taken from
above; `--upright` leaves them as they are. On EfficientNet-Lite0's deep features heads are fitted on the
plain training images alone, and with one and three rotated views of them, and evaluated once on the test
images: log loss (the engine's), accuracy, and the errors as a share of those without rotated views. `asked`
is the ratio of losses that the engine measures on the training images, and whether it would use rotations.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.recipes import read_pixels
from training.engine.backbones import classifier, features, registry
from training.engine.backbones.classifier import Head, Member
from training.engine.config import Sample
from training.engine.data import layouts
from training.engine.evaluation.scoring import score_logits
from training.engine.search import augmentation_probe, budget, linear_head

ROW = "| {:<14} | {:>7} | {:>8} | {:>6} |"


def at_most(samples: list[Sample], most: int) -> list[Sample]:
    order = np.random.default_rng(0).permutation(len(samples))[:most]
    return [samples[i] for i in np.sort(order)]


def tables(member: Member, pixels: np.ndarray, views: int) -> list[Tensor]:
    """Features [N, F] of the pixels, and of the pixels after one, two and three quarter turns."""
    threads = torch.get_num_threads()
    return [
        features.extract_features(member, pixels, threads, "cpu", lambda share: None, quarters=quarters)
        for quarters in range(views)
    ]


def probe_ratio(member: Member, plain: Tensor, rotated: Tensor, targets: np.ndarray) -> float:
    """The engine's question (`invariance`), on features that are there."""
    rows = np.sort(np.random.default_rng(0).permutation(len(targets))[: augmentation_probe.PROBE_IMAGES])
    width, folds = member.network.features, linear_head.make_folds(targets, 5, 0)[rows]
    alone, both = (
        linear_head.cross_validate(
            torch.stack([table[rows, -width:] for table in views]),
            targets[rows],
            folds,
            False,
            np.ones(len(rows)),
            lambda: None,
            [augmentation_probe.START_STRENGTH],
        ).score.loss
        for views in ([plain], [plain, rotated])
    )
    return both / alone


def compare(
    views: list[Tensor], test_features: Tensor, member: Member, known: np.ndarray, new: np.ndarray
) -> None:
    """Print a table of heads fitted on some of the views [N, F] and evaluated on features [M, F]."""
    print(ROW.format("views", "loss", "accuracy", "ratio"))
    folds, weights = linear_head.make_folds(known, budget.fold_count(len(known)), 0), np.ones(len(known))
    parts = torch.split(views[0], list(member.taps), dim=1)
    scale = torch.cat([part.std().expand(part.shape[1]) for part in parts])
    errors = list[float]()
    for count in (1, 2, 4):
        joined = torch.stack(views[:count]) / scale
        head = linear_head.cross_validate(joined, known, folds, False, weights, lambda: None).head
        found = score_logits((test_features / scale @ head.weight.T + head.bias).numpy(), new, False)
        errors.append(1 - found.accuracy)
        share = errors[-1] / max(errors[0], 1e-9)
        name = "plain" if count == 1 else f"and {count - 1} rotated"
        print(ROW.format(name, f"{found.loss:.4f}", f"{found.accuracy:.4f}", f"{share:.2f}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--upright", action="store_true")
    options = parser.parse_args()
    train = layouts.samples_for_fit(options.data, None, 0)
    names, train = sorted({sample.labels[0] for sample in train}), at_most(train, options.train)
    test = at_most(layouts.samples_for_evaluation(options.data), options.test)
    truth = np.array([names.index(sample.labels[0]) for sample in train + test])
    targets, known = np.eye(len(names), dtype=np.float32)[truth], len(train)
    kind = registry.NETWORKS[0]
    empty = Head(torch.zeros(1, 1), torch.zeros(1))
    member = Member(kind, kind.resolution, classifier.pretrained_state(kind), empty, is_deep=True)
    with tempfile.TemporaryDirectory() as folder:
        pixels = np.array(read_pixels([one.path for one in train + test], kind.resolution, Path(folder)))
    turns = np.random.default_rng(0).integers(4, size=len(pixels)) * (not options.upright)
    pixels = np.stack([np.rot90(square, turn) for square, turn in zip(pixels, turns, strict=True)])
    views, test_features = tables(member, pixels[:known], 4), tables(member, pixels[known:], 1)[0]
    ratio = probe_ratio(member, views[0], views[1], targets[:known])
    print(f"{options.data.name}: {known} train, {len(test)} test; asked {ratio:.3f}: ", end="")
    print("it turns" if ratio < augmentation_probe.MAX_ROTATION_RATIO else "it does not turn")
    compare(views, test_features, member, targets[:known], targets[known:])


if __name__ == "__main__":
    main()
