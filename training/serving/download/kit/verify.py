"""Compute the numbers of this version again, from what lies beside this file.

    python verify.py

1. Every metric from the stored predictions (predictions.jsonl), against evaluation.json. Needs Python alone.
2. The model's answers to its self-test pictures (selftest.npz), against what it answered when it was made.
   Needs numpy and onnxruntime; without them this step is skipped, and said so.

Ends with 0 where everything agrees, with 1 where something differs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-9
SCORES_TOLERANCE = 0.02


def read_predictions() -> list[dict[str, Any]]:
    with (HERE / "predictions.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def share(hits: int, support: int) -> float | None:
    return hits / support if support else None


def metrics_of(predictions: list[dict[str, Any]], labels: list[str]) -> dict[tuple[str, str], float | None]:
    """{(label, name): value}, the label empty for the whole; as training/engine/metrics.py defines them."""
    found: dict[tuple[str, str], float | None] = {}
    whole = [set(one["truth"]) == set(one["predicted"]) for one in predictions]
    found["", "accuracy"] = share(sum(whole), len(whole))
    seen = []
    for label in labels:
        truth = [label in one["truth"] for one in predictions]
        named = [label in one["predicted"] for one in predictions]
        hits = sum(a and b for a, b in zip(truth, named, strict=True))
        carried, given = sum(truth), sum(named)
        found[label, "accuracy"] = share(sum(a == b for a, b in zip(truth, named, strict=True)), len(truth))
        found[label, "precision"] = share(hits, given)
        found[label, "recall"] = share(hits, carried)
        found[label, "f1"] = share(2 * hits, carried + given)
        if carried or given:
            seen.append(label)
    for name in ("precision", "recall", "f1"):
        values = [found[label, name] or 0.0 for label in seen]
        found["", name] = sum(values) / len(values) if values else 0.0
    return found


def check_metrics() -> bool:
    evaluation = json.loads((HERE / "evaluation.json").read_text(encoding="utf-8"))
    again = metrics_of(read_predictions(), evaluation["labels"])
    differing = 0
    for one in evaluation["metrics"]:
        value, stored = again[one["label"], one["name"]], one["value"]
        if (value is None) != (stored is None) or (
            value is not None and stored is not None and abs(value - stored) > TOLERANCE
        ):
            differing += 1
            print(f"DIFFERS {one['label'] or 'overall'} {one['name']}: stored {stored}, computed {value}")
    print(f"{len(evaluation['metrics']) - differing} of {len(evaluation['metrics'])} metrics agree.")
    return not differing


def check_model() -> bool:
    try:
        import numpy
        import onnxruntime
    except ImportError:
        print("Self-test skipped: install numpy and onnxruntime to run it.")
        return True
    if not (HERE / "bundle" / "model.onnx").exists():
        print("Self-test skipped: this version has no stored model.")
        return True
    description = json.loads((HERE / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(HERE / "bundle" / "model.onnx"))
    with numpy.load(HERE / "selftest.npz", allow_pickle=False) as stored:
        expected = stored["scores"]
        inputs = {name: stored[name] for name in stored.files if name != "scores"}
    largest = 0.0
    for number, wanted in enumerate(expected):
        one = {name: pictures[number : number + 1] for name, pictures in inputs.items()}
        logits = session.run(["logits"], one)[0][0].astype(numpy.float64) / description["temperature"]
        if description["is_multi_label"]:
            scores = 1 / (1 + numpy.exp(-logits))
        else:
            odds = numpy.exp(logits - logits.max())
            scores = odds / odds.sum()
        largest = max(largest, float(numpy.abs(scores - wanted).max()))
    print(f"Self-test of {len(expected)} pictures: largest difference of a score {largest:.6f}.")
    return largest <= SCORES_TOLERANCE


if __name__ == "__main__":
    results = [check_metrics(), check_model()]
    sys.exit(0 if all(results) else 1)
