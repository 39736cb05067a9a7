"""Does the model answer here as it did where it was made?

    python selftest.py

Asks it about the pictures of samples/ and compares with samples/expected.json. Needs what requirements.txt
names. Ends with 0 where everything agrees, with 1 where something differs.
"""

from __future__ import annotations

import json
import sys

import numpy
from model import HERE, Model

TOLERANCE = 0.02  # of a score; another processor adds in another order


def main() -> int:
    model = Model()
    expected = json.loads((HERE / "samples" / "expected.json").read_text(encoding="utf-8"))
    differing = 0
    for one in expected:
        scores, is_known = model.scores((HERE / "samples" / one["file"]).read_bytes())
        gap = float(numpy.abs(scores - numpy.asarray(one["scores"])).max())
        is_same = gap <= TOLERANCE and is_known == one["is_known"]
        differing += not is_same
        word = "as expected" if is_same else "DIFFERS"
        print(f"{one['file']}: {model.labels[int(scores.argmax())]}, {word}, largest difference {gap:.6f}")
    print(f"{len(expected) - differing} of {len(expected)} pictures agree.")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
