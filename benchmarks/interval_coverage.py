"""How often the 95 % intervals of an evaluation hold the true value, and how often slices give false alarms.

    .venv/bin/python -m benchmarks.interval_coverage [--simulations 500] [--only macro]

Simulated evaluations: a model with a known confusion matrix, so every true value is known. Each line is the
mean over its settings, with the lowest and the highest coverage of one setting. 500 simulations of one
setting have a standard error of 1 point. Everything takes about half an hour.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.evaluation import intervals
from training.engine.evaluation.slices import slice_rates

COUNTS, LABELS = (15, 40, 100, 300, 1000), (2, 5, 10, 20)
ACCURACIES = (0.6, 0.7, 0.8, 0.9, 0.97, 1.0)
Floats = NDArray[np.float64]
Random = np.random.Generator


class Coverage:
    """Hits and widths of one kind of interval, by line of the table and setting."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.lines: dict[str, dict[object, list[tuple[bool, float]]]] = {}

    def add(self, line: str, setting: object, interval: tuple[float, float], truth: float) -> None:
        low, high = interval
        held = (low - 1e-9 <= truth <= high + 1e-9, high - low)
        self.lines.setdefault(line, {}).setdefault(setting, []).append(held)

    def show(self) -> None:
        print(f"\n{self.title}\n{'':44}{'held':>7}{'lowest':>8}{'highest':>9}{'width':>8}{'settings':>10}")
        for line, settings in self.lines.items():
            shares = [100 * float(np.mean([is_in for is_in, _ in runs])) for runs in settings.values()]
            width = np.mean([width for runs in settings.values() for _, width in runs])
            print(
                f"{line:44}{np.mean(shares):6.1f}%{min(shares):7.1f}%{max(shares):8.1f}%"
                f"{width:8.3f}{len(shares):10}"
            )


def images_by_label(count: int, labels: int, is_balanced: bool) -> NDArray[np.int64]:
    """How many of the images each label has, at least one; the rarest has a tenth of the most frequent."""
    weights = np.ones(labels) if is_balanced else np.geomspace(1, 0.1, labels)
    wanted = count * weights / weights.sum()
    counts = np.maximum(1, np.floor(wanted)).astype(np.int64)
    while counts.sum() != count:
        counts[np.argmax(wanted - counts) if counts.sum() < count else np.argmax(counts)] += (
            1 if counts.sum() < count else -1
        )
    return counts


def confusion_of(random: Random, labels: int, accuracy: float) -> Floats:
    """[L, L] chances of each prediction for each true label; recalls differ, and so do the mistakes."""
    recalls = np.ones(labels)
    if accuracy < 1:
        recalls = random.beta(8 * accuracy, 8 * (1 - accuracy), labels)
        recalls = np.clip(recalls + accuracy - recalls.mean(), 0.02, 0.999)
    mistakes = random.dirichlet(np.full(labels, 0.5), labels) + 1e-9
    np.fill_diagonal(mistakes, 0)
    chances = mistakes / mistakes.sum(1, keepdims=True) * (1 - recalls)[:, None]
    np.fill_diagonal(chances, recalls)
    return np.asarray(chances)


def rates_of(matrix: Floats) -> tuple[float, float, float, Floats]:
    """Macro recall, precision and F1 of a matrix of expected counts, and the F1 of each label."""
    hits, carried, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    f1 = 2 * hits / (carried + predicted)
    precision = hits / np.maximum(predicted, 1e-12)
    return float((hits / carried).mean()), float(precision.mean()), float(f1.mean()), f1


def macro(simulations: int) -> Iterator[Coverage]:
    """One label per image."""
    by_count, by_kind = Coverage("One label per image, by images"), Coverage("One label per image, by kind")
    random = np.random.default_rng(1)
    for count in COUNTS:
        for labels in (labels for labels in LABELS if labels * 1.4 <= count):
            for is_balanced in (True, False):
                for accuracy in ACCURACIES:
                    setting = (count, labels, is_balanced, accuracy)
                    for _ in range(simulations):
                        found = _one_evaluation(random, *setting)
                        for name, interval, truth in found:
                            line = f"{name}, {count:,} images"
                            if accuracy < 1:
                                by_count.add(line, setting, interval, truth)
                            kind = "balanced" if is_balanced else "unbalanced"
                            by_kind.add(f"{name}, {labels} labels, {kind}", setting, interval, truth)
                            if accuracy == 1:
                                by_kind.add(f"{name}, every image is right", setting, interval, truth)
    yield by_count
    yield by_kind


def _one_evaluation(
    random: Random, count: int, labels: int, is_balanced: bool, accuracy: float
) -> list[tuple[str, tuple[float, float], float]]:
    counts = images_by_label(count, labels, is_balanced)
    chances = confusion_of(random, labels, accuracy)
    expected = counts[:, None] * chances
    recall, precision, f1, f1_of_labels = rates_of(expected)
    drawn = np.stack([random.multinomial(n, row) for n, row in zip(counts, chances, strict=True)])
    true, said = np.indices(drawn.shape).reshape(2, -1)
    eye, times = np.eye(labels, dtype=np.bool_), drawn.reshape(-1)
    truth, predicted = eye[np.repeat(true, times)], eye[np.repeat(said, times)]
    seen = (truth | predicted).any(0)
    truth, predicted = truth[:, seen], predicted[:, seen]
    hits = truth & predicted
    union = int((truth | predicted)[:, 0].sum())
    share = float(hits.any(1).mean())
    return [
        ("accuracy", intervals.wilson_interval(share, count), float(np.diag(expected).sum() / count)),
        ("macro recall", intervals.macro_share_interval(hits, truth), recall),
        ("macro precision", intervals.macro_share_interval(hits, predicted), precision),
        ("macro F1", intervals.macro_f1_interval(truth, predicted, False), f1),
        ("F1 of a label", intervals.f1_interval(int(hits[:, 0].sum()), union), float(f1_of_labels[0])),
    ]


def several(simulations: int) -> Iterator[Coverage]:
    """Several labels per image; `alike` is how much the mistakes of one image go together."""
    table, random = Coverage("Several labels per image"), np.random.default_rng(2)
    for count in COUNTS:
        for labels in LABELS:
            for alike in (0.0, 0.5):
                for accuracy in (0.7, 0.9):
                    carried = np.geomspace(0.5, 0.1, labels)
                    missed = np.clip(random.beta(10 * (1 - accuracy), 10 * accuracy, labels), 0.005, 0.95)
                    false = np.clip((1 - accuracy) * carried * 2 * random.random(labels), 0.001, 0.5)
                    hits, others = carried * (1 - missed), (1 - carried) * false
                    true = (
                        float((1 - missed).mean()),
                        float((hits / (hits + others)).mean()),
                        float((2 * hits / (hits + others + carried)).mean()),
                    )
                    for _ in range(simulations // 2):
                        truth = random.random((count, labels)) < carried
                        truth[random.integers(count, size=labels), np.arange(labels)] = True
                        level = random.standard_normal((count, 1)) * np.sqrt(alike)
                        level = level + random.standard_normal((count, labels)) * np.sqrt(1 - alike)
                        rank = _normal_share(level)
                        predicted = truth ^ np.where(truth, rank < missed, rank < false)
                        found = (
                            intervals.macro_share_interval(truth & predicted, truth),
                            intervals.macro_share_interval(truth & predicted, predicted),
                            intervals.macro_f1_interval(truth, predicted, True),
                        )
                        for name, interval, value in zip(
                            ("recall", "precision", "F1"), found, true, strict=True
                        ):
                            table.add(
                                f"macro {name}, {count:,} images", (labels, alike, accuracy), interval, value
                            )
    yield table


def _normal_share(level: Floats) -> Floats:
    """The share of a normal distribution below the level (Abramowitz and Stegun 26.2.17)."""
    t = 1 / (1 + 0.2316419 * np.abs(level))
    tail = np.exp(-(level**2) / 2) / np.sqrt(2 * np.pi) * t
    terms = (0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429)
    upper = tail * sum(term * t**power for power, term in enumerate(terms))
    return np.where(level > 0, 1 - upper, upper)


def groups(simulations: int) -> Iterator[Coverage]:
    """Images in groups; `alike` is the correlation of the answers of one group."""
    plain = Coverage("Accuracy of images in groups, as if every image were independent")
    table, random = Coverage("Accuracy of images in groups"), np.random.default_rng(3)
    for count, size in ((15, 1), (10, 3), (20, 3), (20, 10), (50, 5), (200, 5)):
        for accuracy in (0.7, 0.9, 0.97):
            for alike in (0.0, 0.1, 0.3, 1.0):
                for _ in range(simulations):
                    sizes = random.geometric(1 / size, count)
                    owner = np.repeat(np.arange(count), sizes)
                    right = random.random(len(owner)) < _chances(random, count, accuracy, alike)[owner]
                    correlation = intervals.group_correlation(right, owner)
                    effect = intervals.design_effect(owner, correlation)
                    line, setting = f"{count} groups of about {size}", (accuracy, alike)
                    share = float(right.mean())
                    table.add(line, setting, intervals.wilson_interval(share, len(owner) / effect), accuracy)
                    plain.add(line, setting, intervals.wilson_interval(share, len(owner)), accuracy)
    yield plain
    yield table


def _chances(random: Random, count: int, accuracy: float, alike: float) -> Floats:
    if alike == 0:
        return np.full(count, accuracy)
    if alike == 1:
        return (random.random(count) < accuracy).astype(np.float64)
    spread = (1 - alike) / alike
    return random.beta(accuracy * spread, (1 - accuracy) * spread, count)


def slices(simulations: int) -> None:
    """Evaluations in which any slice is called worse, or better, though all are equally good."""
    random = np.random.default_rng(4)
    print(f"\nSlices that are equally good: evaluations with a false alarm\n{'':50}{'worse':>8}{'better':>8}")
    for images, values, size in ((60, 3, 1), (200, 6, 1), (1000, 20, 1), (200, 6, 4), (600, 20, 4)):
        for accuracy in (0.7, 0.95):
            alarms = {"worse": 0, "better": 0}
            for _ in range(simulations):
                owner = np.arange(images) // size
                chance = _chances(random, images // size, accuracy, 0.3 if size > 1 else 0.0)[owner]
                of_group = random.integers(0, values, images // size).astype(str)
                right = (random.random(images) < chance).tolist()
                named = owner.tolist() if size > 1 else None
                verdicts = {row.verdict for row in slice_rates(right, of_group[owner].tolist(), named)}
                for verdict in alarms:
                    alarms[verdict] += verdict in verdicts
            line = f"{images} images, {values} slices, groups of {size}, {accuracy:.0%} right"
            shares = [f"{100 * count / simulations:7.1f}%" for count in alarms.values()]
            print(f"{line:50}{''.join(shares)}")


def cross(simulations: int) -> Iterator[Coverage]:
    """Linear heads on features of overlapping labels, judged on 4,000 further images."""
    table = Coverage("Cross-validation of training and validation images, and validation alone")
    for setting in ((40, 2, 2.0), (75, 2, 2.5), (75, 5, 1.0), (75, 5, 1.5), (200, 5, 1.5)):
        for run in range(simulations // 2):
            for line, interval, truth in _cross_validated(run, *setting):
                table.add(f"{setting[0]} images: {line}", setting, interval, truth)
    yield table


def _cross_validated(
    run: int, images: int, labels: int, noise: float
) -> list[tuple[str, tuple[float, float], float]]:
    """A model of four fifths of the images, judged by cross-validation of all, and by the others alone."""
    import torch

    from training.engine import cross_validation

    torch.set_num_threads(1)
    random = np.random.default_rng([images, labels, run])
    centres = random.standard_normal((labels, 160)) * (random.random((labels, 160)) < 0.15)
    truth = random.permutation(np.arange(images + 4000) % labels)
    rows = (centres[truth] + noise * random.standard_normal((len(truth), 160))).astype(np.float32)
    split = int(0.8 * images)
    fits = [_fit(rows[:images], truth[:images], seed) for seed in range(cross_validation.REPEATS)]
    share = float(np.mean([(fit.held_out.argmax(1) == truth[:images]).mean() for fit in fits]))
    model = _fit(rows[:split], truth[:split], 0)
    of_model, of_all = (_accuracy(fit, rows[images:], truth[images:]) for fit in (model, fits[0]))
    interval = intervals.wilson_interval(share, images / cross_validation.SHARED_TRAINING)
    alone = _accuracy(model, rows[split:images], truth[split:images])
    return [
        ("truth of the model", interval, of_model),
        ("truth of one fitted on all", interval, of_all),
        ("validation images alone", intervals.wilson_interval(alone, images - split), of_model),
    ]


def _fit(rows: Any, truth: Any, seed: int) -> Any:
    import torch

    from training.engine import cross_validation
    from training.engine.evaluation.scoring import balanced_weights
    from training.engine.search import linear_head

    targets = np.eye(truth.max() + 1, dtype=np.float32)[truth]
    folds = linear_head.make_folds(targets, cross_validation.FOLDS, seed)
    weights = balanced_weights(targets)
    return linear_head.cross_validate(
        torch.from_numpy(rows)[None], targets, folds, False, weights, lambda: None
    )


def _accuracy(fit: Any, rows: Any, truth: Any) -> float:
    logits = rows @ fit.head.weight.numpy().T + fit.head.bias.numpy()
    return float((logits.argmax(1) == truth).mean())


PARTS: dict[str, Callable[[int], Iterator[Coverage]]] = {
    "macro": macro,
    "several": several,
    "groups": groups,
    "cross": cross,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--only", choices=[*PARTS, "slices"])
    arguments = parser.parse_args()
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            for table in part(arguments.simulations):
                table.show()
    if arguments.only in (None, "slices"):
        slices(arguments.simulations)


if __name__ == "__main__":
    main()
