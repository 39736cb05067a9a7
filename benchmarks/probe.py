"""The strongest simple peer: frozen EfficientNet-Lite0 features and logistic regression, C = 1.

    python -m benchmarks.probe DATA

The method of browser tools that train a classifier: eager PyTorch, channels last, float32, 224 pixels,
batches of 32, no search. It trains on all images but the test images, and prints one JSON object with its
figures on the test images.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from training.engine import Sample
from training.engine.backbones import registry
from training.engine.backbones.classifier import build_backbone, pretrained_state, to_network_input
from training.engine.data import layouts
from training.engine.data.images import read_square

BATCH, SIDE = 32, 224


def features(samples: Sequence[Sample]) -> np.ndarray:
    """[N, 1280] float32."""
    network = registry.NETWORKS[0]
    backbone = build_backbone(network, pretrained_state(network)).to(memory_format=torch.channels_last)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(samples), BATCH):
            squares = [read_square(one.path, SIDE) for one in samples[start : start + BATCH]]
            parts.append(backbone(to_network_input(torch.from_numpy(np.stack(squares)))).numpy())
    return np.concatenate(parts)


def main() -> None:
    source = Path(sys.argv[1])
    train, test = layouts.samples_for_fit(source, None, 0), layouts.samples_for_evaluation(source)
    began = time.monotonic()
    head = LogisticRegression(C=1.0, max_iter=1000)
    head.fit(features(train), [one.labels[0] for one in train])
    seconds = time.monotonic() - began
    truth, answers = [one.labels[0] for one in test], head.predict(features(test))
    print(
        json.dumps(
            {
                "accuracy": accuracy_score(truth, answers),
                "macro_f1": f1_score(truth, answers, average="macro"),
                "seconds": seconds,
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
