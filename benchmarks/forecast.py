"""The forecast of the gain from more images of a label, beside the gain measured with them.

    python -m benchmarks.forecast FOLDER ... [--now 30] [--more 20] [--seeds 8]

FOLDER holds a folder of images for each label. `--now` images of each label are taken, the forecast is
made from them alone; then `--more` of one label are added, and the gain of its recall on all other images is
measured with the same classifier on the same frozen features. Printed for each folder: the mean forecast and
the mean measured gain in points, their correlation over labels, their mean difference beside that of always
forecasting zero, and the share of forecasts whose interval contains the label's mean measured gain.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from training.engine.assist import label_suggestions
from training.engine.assist.embedder import Embedder, read
from training.engine.assist.learning_curves import Floats, expected_gains
from training.engine.data.layouts import SUFFIXES


def features_of(folder: Path) -> tuple[Floats, np.ndarray, list[str]]:
    paths = [path for path in sorted(folder.glob("*/*")) if path.suffix.lower() in SUFFIXES]
    names = sorted({path.parent.name for path in paths})
    rows, _ = Embedder(2).embed(map(read, paths))
    return rows, np.array([names.index(path.parent.name) for path in paths]), names


def run(folder: Path, now: int, more: int, seeds: int) -> dict[str, object]:
    features, labels, names = features_of(folder)
    forecast = np.zeros((seeds, len(names)))
    lows, highs, real = np.zeros_like(forecast), np.zeros_like(forecast), np.zeros_like(forecast)
    for seed in range(seeds):
        dice = np.random.default_rng(seed)
        orders = [dice.permutation(np.flatnonzero(labels == label)) for label in range(len(names))]
        fitted_rows = np.concatenate([order[:now] for order in orders])
        targets = np.eye(len(names), dtype=np.float32)[labels[fitted_rows]]
        for label, gain in enumerate(
            expected_gains(features[fitted_rows], targets, fitted_rows, more, seed=seed)
        ):
            assert gain is not None
            forecast[seed, label], lows[seed, label], highs[seed, label] = gain.gain, gain.low, gain.high
            larger = np.concatenate([fitted_rows, orders[label][now : now + more]])
            extra = orders[label][now : now + more]
            excluded = np.concatenate([fitted_rows, extra])  # both are evaluated on the same rest
            before = _evaluated(features, labels, fitted_rows, excluded, label, len(names))
            real[seed, label] = _evaluated(features, labels, larger, excluded, label, len(names)) - before
    mean_real = real.mean(0)
    within = (lows <= mean_real) & (mean_real <= highs)
    return {
        "folder": folder.name,
        "forecast": round(100 * float(forecast.mean()), 2),
        "real": round(100 * float(mean_real.mean()), 2),
        "apart": round(100 * float(np.abs(forecast - mean_real).mean()), 2),
        "apart_of_zero": round(100 * float(np.abs(mean_real).mean()), 2),
        "correlation": round(float(np.corrcoef(forecast.mean(0), mean_real)[0, 1]), 2),
        "within_interval": round(float(within.mean()), 2),
    }


def _evaluated(
    features: Floats, labels: np.ndarray, fitted_rows: np.ndarray, left_out: np.ndarray, of: int, classes: int
) -> float:
    fitted = label_suggestions.fit(
        features[fitted_rows], np.eye(classes, dtype=np.float32)[labels[fitted_rows]], False
    )
    rest = np.setdiff1d(np.flatnonzero(labels == of), left_out)
    assert fitted is not None
    return float((fitted.probabilities(features[rest]).argmax(1) == of).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--now", type=int, default=30)
    parser.add_argument("--more", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=8)
    asked = parser.parse_args()
    for folder in asked.folders:
        print(json.dumps(run(folder, asked.now, asked.more, asked.seeds)), flush=True)


if __name__ == "__main__":
    main()
