"""Shared by the peers: arguments, rows, weights and the form of the result."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence

import pandas as pd
import torchvision_on_cpu  # noqa: F401  # before anything that imports torchvision
from sklearn.metrics import accuracy_score, f1_score
from timm.models._registry import _model_pretrained_cfgs

NETWORK = "tf_efficientnet_lite0"


def arguments() -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """Rows to train on, rows to be judged on (path, label), and seconds; timm reads the given weights."""
    lists, weights, minutes = sys.argv[1:4]
    for name, known in _model_pretrained_cfgs.items():
        if name.split(".")[0] == NETWORK:
            known.file, known.url, known.hf_hub_id = weights, "", None
    rows = pd.read_csv(lists, dtype=str)
    train, test = (
        rows[rows.split == side].drop(columns="side").reset_index(drop=True) for side in ("train", "test")
    )
    return train, test, 60 * float(minutes)


def answer(truth: Sequence[str], predicted: Sequence[str], began: float, ended: float, note: str) -> None:
    usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    figures = {
        "accuracy": accuracy_score(truth, predicted),
        "macro_f1": f1_score(truth, predicted, average="macro"),
        "seconds": ended - began,
        "peak_rss_mb": max(usages) // 1024,
        "note": note,
    }
    print(json.dumps(figures), flush=True)


def now() -> float:
    return time.monotonic()
