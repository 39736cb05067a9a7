"""Precision and recall of the search for wrong labels.

    python -m benchmarks.wrong_labels DATA ... [--wrong 0.05] [--seeds 3]

Every image of DATA (without its test images) gets its true label, but a share of them, drawn by seed, another
one. Precision is among the suspected images, recall among those with a wrong label; `named` is the share of
the found ones for which the product proposes the true label.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from benchmarks.labeling import set_up
from benchmarks.presses import import_folder


def run(data: Path, share: float, seeds: int) -> None:
    from projects.labels import actions
    from training.assist import find_issues

    project, truth, _ = import_folder(data)
    names = sorted(set(truth.values()))
    suspected = right = named = wrong_count = 0
    for seed in range(seeds):
        chance = random.Random(seed)
        wrong = set(chance.sample(sorted(truth), round(share * len(truth))))
        given = {
            pk: chance.choice([n for n in names if n != true]) if pk in wrong else true
            for pk, true in truth.items()
        }
        for name in names:
            actions.apply(project, [pk for pk, one in given.items() if one == name], add=[name], by=None)
        find_issues.update_issues(project.pk)
        found = dict(project.images.exclude(suspected_label=None).values_list("pk", "suspected_label__name"))
        suspected += len(found)
        wrong_count += len(wrong)
        right += len(wrong & found.keys())
        named += sum(found[pk] == truth[pk] for pk in wrong & found.keys())
    precision, recall = right / max(1, suspected), right / max(1, wrong_count)
    print(
        f"{data.name}: {len(truth)} images, {share:.0%} wrong, {seeds} seeds: precision {precision:.2f}, "
        f"recall {recall:.2f}, named {named / max(1, right):.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--wrong", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exeml-wrong-labels-") as folder:
        set_up(folder, "")
        for data in options.data:
            run(data, options.wrong, options.seeds)


if __name__ == "__main__":
    main()
