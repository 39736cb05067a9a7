"""Check that the model gives the same scores here as on the machine that exported it.

    python selftest.py

Predicts the images of samples/ and compares the scores with samples/expected.json. Needs the packages of
requirements.txt. Exits with 0 if all agree, with 1 if one differs.
"""

from __future__ import annotations

import json
import sys

import numpy
from model import HERE, Model

TOLERANCE = 0.02  # of a score; processors add numbers in different orders


def main() -> int:
    model = Model()
    expected = json.loads((HERE / "samples" / "expected.json").read_text(encoding="utf-8"))
    differing = 0
    for sample in expected:
        scores, is_known = model.scores((HERE / "samples" / sample["file"]).read_bytes())
        gap = float(numpy.abs(scores - numpy.asarray(sample["scores"])).max())
        is_same = gap <= TOLERANCE and is_known == sample["is_known"]
        differing += not is_same
        word = "as expected" if is_same else "DIFFERS"
        print(f"{sample['file']}: {model.labels[int(scores.argmax())]}, {word}, largest difference {gap:.6f}")
    print(f"{len(expected) - differing} of {len(expected)} pictures agree.")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
