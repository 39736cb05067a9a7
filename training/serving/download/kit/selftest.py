"""Check that the model gives the same scores and answers here as on the machine that exported it.

    python selftest.py

Predicts the images of samples/ and compares scores and answers with samples/expected.json. Needs the
packages of requirements.txt. Exits with 0 if all agree, with 1 if one differs.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy
from model import HERE, Model

TOLERANCE = 0.02  # of a score, unless model.json states another; processors add numbers in different orders
ROUNDING = 1e-6


def is_same_answer(model: Model, sample: dict[str, Any]) -> tuple[Any, float, bool]:
    """The scores of a sample, their largest difference, and whether scores and answer agree."""
    scores, is_known, familiarity = model.outputs((HERE / "samples" / sample["file"]).read_bytes())
    gap = float(numpy.abs(scores - numpy.asarray(sample["scores"])).max())
    decision = model.decide(scores, is_known, familiarity)
    is_same = decision.is_known == sample["is_known"] and list(decision.labels) == sample["labels"]
    return (
        scores,
        gap,
        gap <= model.about.get("tolerance", TOLERANCE)
        and (is_same or is_close(model, sample, gap, familiarity)),
    )


def is_close(model: Model, sample: dict[str, Any], gap: float, familiarity: float | None) -> bool:
    """Whether a value lies so close to its limit that the difference from the stored one decides."""
    scores = sorted(sample["scores"], reverse=True)
    if model.rule.is_multi_label:
        limits = model.rule.in_force(model.settings)
        margins = [score - limit for score, limit in zip(sample["scores"], limits, strict=True)]
    else:
        margins = [scores[0] - model.settings.min_confidence, (scores[0] - sum(scores[1:2])) / 2]
    if any(abs(margin) <= gap + ROUNDING for margin in margins):
        return True
    limit, stored = model.settings.min_familiarity, sample["familiarity"]
    if limit is None or stored is None or familiarity is None:
        return False
    return bool(abs(stored - limit) <= abs(stored - familiarity) + ROUNDING)


def main() -> int:
    model = Model()
    print(f"Settings: {model.settings.text or 'the model’s own'}.")
    expected = json.loads((HERE / "samples" / "expected.json").read_text(encoding="utf-8"))
    differing = 0
    for sample in expected:
        scores, gap, is_same = is_same_answer(model, sample)
        differing += not is_same
        word = "as expected" if is_same else "DIFFERS"
        print(f"{sample['file']}: {model.labels[int(scores.argmax())]}, {word}, largest difference {gap:.6f}")
    print(f"{len(expected) - differing} of {len(expected)} pictures agree.")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
