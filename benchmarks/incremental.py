"""Training from a model beside training from scratch: seconds to the same accuracy, with other labels.

    python -m benchmarks.incremental DATA [--minutes 2] [--seed 0]

DATA is a layout of one label per image, with test images, that the engine's command line reads. The base is
fitted without the last fifth of the label names and with the first label called `<name>-old`. Then all of
DATA is fitted twice under one limit and seed, from the base and from scratch: against its base that model has
new labels, one label fewer, and one renamed label.

Seconds to 90, 95, 98 and 100 % of what the run from scratch reaches in the end stand for two measures:
`held-out` is the fit's own validation, by its own clock (`events.jsonl`); `test` is the accuracy on DATA's
test images of every model that was written during the fit, by the clock of the whole process. `test` is the
more reliable one: the base has seen images that the second fit holds out.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.automl import run
from training.engine import Sample
from training.engine.data import layouts

SHARES = (0.90, 0.95, 0.98, 1.0)
POLL_S = 0.25
ROW = "| {:<12} | {:<8} |" + " {:>7} |" * len(SHARES) + " {:>8} | {:>8} | {}"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """An accuracy and a macro F1 (0 where unknown) at some second."""

    seconds: float
    accuracy: float
    macro_f1: float = 0


@dataclass(frozen=True, slots=True)
class FitRun:
    """A fit's answer, and how accuracy rose, held out and on the test side."""

    answer: dict[str, Any]
    held_out: list[CurvePoint]
    test: list[CurvePoint]


def write_dataset_without(data: Path, target: Path, without: set[str], renamed: str) -> None:
    """A layout with `split.csv` and links to DATA's files, without some labels and with one renamed."""
    sides = {"train": layouts.samples_for_fit(data, None, 0), "test": layouts.samples_for_evaluation(data)}
    target.mkdir()
    with (target / "split.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "set"])
        for side, samples in sides.items():
            for number, one in enumerate(samples):
                if one.labels[0] not in without:
                    name = f"{side}-{number}{one.path.suffix}"
                    table.writerow([link(one, target, name, renamed), side if one.split != "EVAL" else "val"])


def link(one: Sample, target: Path, name: str, renamed: str) -> str:
    """Link an image into the folder of its label; gives the path inside the layout."""
    label = one.labels[0] + ("-old" if one.labels[0] == renamed else "")
    (target / label).mkdir(exist_ok=True)
    (target / label / name).symlink_to(one.path.resolve())
    return f"{label}/{name}"


def fit(data: Path, home: Path, minutes: float, seed: int, base: Path | None) -> FitRun:
    """Fit in `home/out`; every model written meanwhile is copied, and evaluated on the test images
    afterwards."""
    out = home / "out"
    home.mkdir()
    command = [sys.executable, "-m", "training.engine", "fit", str(data), "--out", str(out), "--json"]
    command += ["--minutes", str(minutes), "--seed", str(seed)]
    command += ["--base", str(base)] if base else []
    began = time.time()
    with (home / "answer").open("w") as answer, (home / "errors").open("w") as errors:
        process = subprocess.Popen(command, stdout=answer, stderr=errors)
        kept = keep_models(process, out / "bundle", home, began)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{(home / 'errors').read_text()[-2000:]}")
    found = json.loads((home / "answer").read_text().splitlines()[-1])
    return FitRun(found, held_out_curve(out / "events.jsonl"), [evaluated(*one, data) for one in kept])


def keep_models(
    process: subprocess.Popen[bytes], bundle: Path, home: Path, began: float
) -> list[tuple[float, Path]]:
    """Copies of each model that a running fit puts into its folder, with the second of its writing."""
    kept: list[tuple[float, Path]] = []
    last, is_running = 0.0, True
    while is_running:
        is_running = process.poll() is None
        written = written_at(bundle)
        if written > last:
            target = home / f"model-{len(kept)}"
            shutil.rmtree(target, ignore_errors=True)
            if copied_whole(bundle, target, written):
                kept.append((written - began, target))
                last = written
        time.sleep(POLL_S)
    return kept


def written_at(bundle: Path) -> float:
    try:
        return (bundle / "bundle.json").stat().st_mtime
    except OSError:
        return 0.0


def copied_whole(bundle: Path, target: Path, written: float) -> bool:
    """Copy the files that predictions need; False where the fit swapped the model meanwhile."""
    try:
        shutil.copytree(bundle, target, ignore=shutil.ignore_patterns("weights.pt"))
    except OSError:
        return False
    return written_at(bundle) == written


def evaluated(seconds: float, bundle: Path, data: Path) -> CurvePoint:
    found = run("training.engine", "evaluate", str(bundle), str(data), "--json")
    return CurvePoint(seconds, found["accuracy"], found["macro_f1"])


def held_out_curve(log: Path) -> list[CurvePoint]:
    """The best models that the fit reported."""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [CurvePoint(one["elapsed_s"], one["accuracy"]) for one in events if one["kind"] == "best"]


def seconds_to(curve: Sequence[CurvePoint], accuracy: float) -> str:
    """The first second at which the accuracy is reached, or a dash."""
    reached = [one.seconds for one in curve if one.accuracy >= accuracy - 1e-9]
    return f"{min(reached):.0f} s" if reached else "–"


def show(name: str, fitted: FitRun, goals: FitRun) -> None:
    """A line for the fit's own validation and one for the test side."""
    ended = f"{fitted.answer['stop_reason']}: {fitted.answer['best']['recipe']}"
    last = fitted.held_out[-1].accuracy, fitted.answer["macro_f1"]
    for kind, curve, goal, (accuracy, macro_f1) in (
        ("held-out", fitted.held_out, goals.held_out[-1].accuracy, last),
        ("test", fitted.test, goals.test[-1].accuracy, (fitted.test[-1].accuracy, fitted.test[-1].macro_f1)),
    ):
        times = (seconds_to(curve, share * goal) for share in SHARES)
        print(ROW.format(name, kind, *times, f"{accuracy:.4f}", f"{macro_f1:.4f}", ended), flush=True)


def show_models(name: str, fitted: FitRun) -> None:
    points = ", ".join(f"{one.accuracy:.4f} at {one.seconds:.0f} s" for one in fitted.test)
    print(f"test accuracy of the models of {name}: {points}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=2, help="limit of each of the three fits")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    labels = sorted({one.labels[0] for one in layouts.samples_for_fit(options.data, None, 0)})
    added = set(labels[-max(1, len(labels) // 5) :])
    with tempfile.TemporaryDirectory() as folder:
        home, limits = Path(folder), (options.minutes, options.seed)
        write_dataset_without(options.data, home / "reduced", added, labels[0])
        base = fit(home / "reduced", home / "base", *limits, None)
        bundle = Path(base.answer["bundle"])
        scratch = fit(options.data, home / "scratch", *limits, None)
        further = fit(options.data, home / "further", *limits, bundle)
    print(
        f"{options.data.name}, {options.minutes:g} minutes each; added {', '.join(sorted(added))};", end=" "
    )
    print(f"{labels[0]}-old became {labels[0]}")
    names = (f"to {share:.0%}" for share in SHARES)
    print(ROW.format("run", "measure", *names, "accuracy", "macro F1", "ended"))
    runs = {"base": (base, base), "from scratch": (scratch, scratch), "from base": (further, scratch)}
    for name, (fitted, goals) in runs.items():
        show(name, fitted, goals)
    for name, (fitted, _) in runs.items():
        show_models(name, fitted)


if __name__ == "__main__":
    main()
