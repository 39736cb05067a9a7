"""Detection of unknown images: of a label that is left out of the training, and of other data sets.

    python -m benchmarks.unknown DATA OTHER [OTHER ...] [--leave-out LABEL ...] [--minutes 0.5] [--single]

For each label that is left out one model is fitted on the other labels of DATA. It then predicts three
kinds of test images: known ones, those of the label left out (the hard case, as they look similar), and those
of each OTHER data set. One line of JSON per kind: the AUROC of known against unknown images, by confidence,
distance and familiarity, and the share of each kind that is called unknown. `--single` admits only the
fastest network, whose best model is often the fine-tuned one alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from training.engine import FitConfig, Sample
from training.engine.backbones.latency import fastest_network
from training.engine.bundle.bundle import Bundle
from training.engine.bundle.novelty import NoveltyScore
from training.engine.data import layouts
from training.engine.fit import fit

MAX_UNKNOWN_IMAGES = 200


def novelty_scores(bundle: Bundle, samples: Sequence[Sample]) -> list[NoveltyScore]:
    return [bundle.answer(one.path).novelty_score for one in samples]


def measures(judgements: Sequence[NoveltyScore]) -> dict[str, np.ndarray]:
    """Numbers [N] that are larger where an image is better known."""
    return {
        "confidence": np.array([one.confidence for one in judgements]),
        "distance": np.array([-(one.distance or 0) for one in judgements]),
        "familiarity": np.array([one.familiarity or 0 for one in judgements]),
    }


def compare(known: Sequence[NoveltyScore], strange: Sequence[NoveltyScore]) -> dict[str, float]:
    truth = [1] * len(known) + [0] * len(strange)
    ours, theirs = measures(known), measures(strange)
    figures = {
        f"auroc_{name}": roc_auc_score(truth, np.concatenate([ours[name], theirs[name]])) for name in ours
    }
    figures["known_called_unknown"] = float(np.mean([not one.is_known for one in known]))
    figures["strange_called_unknown"] = float(np.mean([not one.is_known for one in strange]))
    return {name: round(value, 3) for name, value in figures.items()}


def at_most(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[:: -(-len(samples) // MAX_UNKNOWN_IMAGES)]


def fit_without(samples: Sequence[Sample], label: str, options: argparse.Namespace, workdir: Path) -> Bundle:
    kept = [replace(one, split="TRAIN") for one in samples if label not in one.labels]
    limit = fastest_network("NV_P4")[2] + 0.01 if options.single else 500
    config = FitConfig(max_seconds=60 * options.minutes, max_inference_ms=limit, threads=options.threads)
    result = fit(kept, config, workdir, lambda event: None, lambda: False)
    print(json.dumps({"left_out": label, "recipe": result.best.recipe, "network": result.best.network}))
    return Bundle.load(result.bundle, options.threads)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="DATA")
    parser.add_argument("others", type=Path, nargs="+", metavar="OTHER")
    parser.add_argument("--leave-out", nargs="+", metavar="LABEL", help="default: the first two labels")
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--single", action="store_true")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    train, test = (
        layouts.samples_for_fit(options.source, None, 0),
        layouts.samples_for_evaluation(options.source),
    )
    others = {path.name: at_most(layouts.samples_for_evaluation(path)) for path in options.others}
    for label in options.leave_out or sorted({one.labels[0] for one in train})[:2]:
        with tempfile.TemporaryDirectory() as folder:
            bundle = fit_without(train, label, options, Path(folder))
            known = novelty_scores(bundle, [one for one in test if label not in one.labels])
            left_out = [one for one in [*test, *train] if label in one.labels]
            for name, samples in {f"left out: {label}": at_most(left_out), **others}.items():
                print(
                    json.dumps({"strange": name, **compare(known, novelty_scores(bundle, samples))}),
                    flush=True,
                )


if __name__ == "__main__":
    main()
