"""Compute the metrics of this version again, from the files beside this one.

    python verify.py

1. Computes every metric from predictions.jsonl and compares with evaluation.json, and the same for the test
   images (test_predictions.jsonl, test_evaluation.json) where these files are. Needs only Python.
2. Decides every prediction again under the stored answer settings, with decision.py, and compares the
   figures with answers.json. Needs only Python.
3. Predicts the self-test images (selftest.npz) and compares with the stored scores. Needs numpy and
   onnxruntime; without them this step is skipped with a message.

Exits with 0 if all agree, with 1 if one differs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from decision import AnswerSettings, DecisionRule

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-9
SCORES_TOLERANCE = 0.02


def read_predictions(name: str) -> list[dict[str, Any]]:
    with (HERE / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def ratio(hits: int, support: int) -> float | None:
    return hits / support if support else None


def metrics_of(predictions: list[dict[str, Any]], labels: list[str]) -> dict[tuple[str, str], float | None]:
    """{(label, name): value}, with an empty label for the overall metrics."""
    metrics: dict[tuple[str, str], float | None] = {}
    is_exact = [set(row["truth"]) == set(row["predicted"]) for row in predictions]
    metrics["", "accuracy"] = ratio(sum(is_exact), len(is_exact))
    used_labels = []
    for label in labels:
        truth = [label in row["truth"] for row in predictions]
        predicted = [label in row["predicted"] for row in predictions]
        hits = sum(a and b for a, b in zip(truth, predicted, strict=True))
        true_count, predicted_count = sum(truth), sum(predicted)
        metrics[label, "accuracy"] = ratio(
            sum(a == b for a, b in zip(truth, predicted, strict=True)), len(truth)
        )
        metrics[label, "precision"] = ratio(hits, predicted_count)
        metrics[label, "recall"] = ratio(hits, true_count)
        metrics[label, "f1"] = ratio(2 * hits, true_count + predicted_count)
        if true_count or predicted_count:
            used_labels.append(label)
    for name in ("precision", "recall", "f1"):
        values = [metrics[label, name] or 0.0 for label in used_labels]
        metrics["", name] = sum(values) / len(values) if values else 0.0
    return metrics


def check_metrics(prefix: str = "") -> bool:
    """`prefix`: “test_” for the files about the test images."""
    evaluation = json.loads((HERE / f"{prefix}evaluation.json").read_text(encoding="utf-8"))
    computed = metrics_of(read_predictions(f"{prefix}predictions.jsonl"), evaluation["labels"])
    differing = 0
    for metric in evaluation["metrics"]:
        value, stored = computed[metric["label"], metric["name"]], metric["value"]
        if (value is None) != (stored is None) or (
            value is not None and stored is not None and abs(value - stored) > TOLERANCE
        ):
            differing += 1
            print(
                f"DIFFERS {metric['label'] or 'overall'} {metric['name']}: stored {stored}, computed {value}"
            )
    where = " on the test images" if prefix else ""
    print(f"{len(evaluation['metrics']) - differing} of {len(evaluation['metrics'])} metrics agree{where}.")
    return not differing


def check_answers() -> bool:
    """Compare the figures under the stored answer settings."""
    answers = json.loads((HERE / "answers.json").read_text(encoding="utf-8"))
    if answers["figures"] is None:
        print("Answer settings skipped: the thresholds of this version are not known.")
        return True
    rule = DecisionRule(tuple(answers["labels"]), answers["is_multi_label"], tuple(answers["thresholds"]))
    settings = AnswerSettings.from_json(answers["settings"])
    rows, counts = read_predictions("predictions.jsonl"), {"answered": 0, "right": 0, "exact": 0}
    for row in rows:
        decision = rule.decide(row["scores"], settings, row["is_known"], row["familiarity"])
        row["predicted"] = list(decision.labels)
        is_answered = bool(decision.labels) and decision.is_known is not False
        is_exact = set(decision.labels) == set(row["truth"])
        counts["answered"] += is_answered
        counts["right"] += is_answered and is_exact
        counts["exact"] += is_exact
    evaluation = json.loads((HERE / "evaluation.json").read_text(encoding="utf-8"))
    metrics = metrics_of(rows, evaluation["labels"])
    stored = answers["figures"]
    is_same = all(stored[name]["hits"] == hits for name, hits in counts.items())
    for name in ("precision", "recall", "f1"):
        is_same = is_same and abs((metrics["", name] or 0.0) - stored[f"macro_{name}"]) <= TOLERANCE
    print(f"Answer settings ({settings.text or 'the model’s own'}): {'agree' if is_same else 'DIFFER'}.")
    return is_same


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
    for index, stored_scores in enumerate(expected):
        image = {name: images[index : index + 1] for name, images in inputs.items()}
        logits = session.run(["logits"], image)[0][0].astype(numpy.float64) / description["temperature"]
        if description["is_multi_label"]:
            scores = 1 / (1 + numpy.exp(-logits))
        else:
            odds = numpy.exp(logits - logits.max())
            scores = odds / odds.sum()
        largest = max(largest, float(numpy.abs(scores - stored_scores).max()))
    print(f"Self-test of {len(expected)} pictures: largest difference of a score {largest:.6f}.")
    return largest <= SCORES_TOLERANCE


if __name__ == "__main__":
    results = [check_metrics(), check_answers(), check_model()]
    if (HERE / "test_evaluation.json").exists():
        results.append(check_metrics("test_"))
    sys.exit(0 if all(results) else 1)
