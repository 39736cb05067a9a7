"""The engine beside its peers on the same images, weights, cores and wall clock, in one run.

    python -m benchmarks.automl DATA ... [--minutes 2 6] [--who engine probe fastai autogluon]

Each DATA is a layout that the engine's command line reads, with test images. All train on the rest and are
evaluated once on the test images. The probe (`benchmarks.probe`) has no time limit and runs once; the others
run once for each of the minutes. fastai and AutoGluon (`benchmarks/peers`) are installed into an environment
of their own, which the first run makes in `.venv/peers`; they get the same EfficientNet-Lite0 weights.

`over` is by how much a run exceeded its limit: for the engine the whole process, start-up included; for the
peers only their fit.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from training.engine.backbones import classifier, registry
from training.engine.data import layouts

ROW = "| {:<18} | {:<16} | {:>8} | {:>8} | {:>7} | {:>5} | {:>7} | {}"
HERE = Path(__file__).parent / "peers"
HOME = Path(__file__).parent.parent / ".venv" / "peers"
PEERS = {"fastai": "fastai_peer.py", "autogluon": "autogluon_peer.py"}


def answer_of(command: list[str]) -> dict[str, Any]:
    """The JSON object that a command prints last. Its standard error is shown where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def run(module: str, *arguments: str) -> dict[str, Any]:
    return answer_of([sys.executable, "-m", module, *arguments])


def show(
    data: Path, who: str, found: dict[str, Any], seconds: float, minutes: float | None, why: str
) -> None:
    rates = (f"{found[name]:.4f}" for name in ("accuracy", "macro_f1"))
    over = "" if minutes is None else f"{max(0.0, seconds - 60 * minutes):.0f}"
    who = who if minutes is None else f"{who} {minutes:g} min"
    print(ROW.format(data.name, who, *rates, f"{seconds:.0f}", over, found["peak_rss_mb"], why), flush=True)


def probe(data: Path) -> None:
    found = run("benchmarks.probe", str(data))
    show(data, "probe", found, found["seconds"], None, "")


def engine(data: Path, minutes: float) -> None:
    with tempfile.TemporaryDirectory() as out:
        began = time.monotonic()
        fitted = run("training.engine", "fit", str(data), "--out", out, "--minutes", str(minutes), "--json")
        seconds = time.monotonic() - began
        evaluated = run("training.engine", "evaluate", fitted["bundle"], str(data), "--json")
    why = f"{fitted['stop_reason']}: {fitted['best']['network']}, {fitted['best']['recipe']}"
    evaluated["peak_rss_mb"] = fitted["peak_rss_mb"]
    show(data, "engine", evaluated, seconds, minutes, why)


def peer(name: str, data: Path, minutes: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lists = Path(folder) / "lists.csv"
        write_lists(data, lists)
        script = [str(environment()), str(HERE / PEERS[name])]
        found = answer_of([*script, str(lists), str(weights()), str(minutes)])
    show(data, name, found, found["seconds"], minutes, found["note"])


def write_lists(data: Path, target: Path) -> None:
    """path, label and side of the rows that the engine would read."""
    sides = {"train": layouts.samples_for_fit(data, None, 0), "test": layouts.samples_for_evaluation(data)}
    with target.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "side"])
        table.writerows(
            (one.path.resolve(), one.labels[0], side) for side, samples in sides.items() for one in samples
        )


@functools.cache
def environment() -> Path:
    """The peers' Python, with what they need installed once."""
    python, wanted = HOME / "bin" / "python", HERE / "requirements.txt"
    noted = HOME / "installed.txt"
    if not noted.exists() or noted.read_text() != wanted.read_text():
        print("Installing the peers: once, some minutes.", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(wanted)], check=True)
        noted.write_text(wanted.read_text())
    return python


@functools.cache
def weights() -> Path:
    """EfficientNet-Lite0's state with timm's names, classifier included, as the peers' timm reads it."""
    target = HOME / "efficientnet_lite0.pth"
    if not target.exists():
        torch.save(classifier.packaged_state(registry.NETWORKS[0]), target)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 6])
    everybody = ["probe", "engine", *PEERS]
    parser.add_argument("--who", nargs="+", choices=everybody, default=everybody)
    options = parser.parse_args()
    print(ROW.format("data", "who", "accuracy", "macro F1", "seconds", "over", "peak MB", "ended"))
    for data in options.data:
        if "probe" in options.who:
            probe(data)
        for minutes in options.minutes:
            if "engine" in options.who:
                engine(data, minutes)
            for name in (one for one in PEERS if one in options.who):
                peer(name, data, minutes)


if __name__ == "__main__":
    main()
