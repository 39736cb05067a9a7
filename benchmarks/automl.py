"""The engine beside the probe on the same images and cores, one after the other in one run.

    python -m benchmarks.automl DATA ... [--minutes 2 6]

Each DATA is a layout that the engine's command line reads, with a test side. Both train on the rest and are
judged once on the test side. The probe (`benchmarks.probe`) knows no limit; the engine runs once for each of
the minutes. `over` is how far beyond its limit the engine's whole process ended, start-up included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROW = "| {:<22} | {:<14} | {:>8} | {:>8} | {:>7} | {:>6} | {:>7} | {}"


def run(module: str, *arguments: str) -> dict[str, Any]:
    """The JSON object that a module of this project prints last."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def show(data: Path, who: str, judged: dict[str, Any], seconds: float, over: str, mb: int, why: str) -> None:
    figures = (f"{judged[name]:.4f}" for name in ("accuracy", "macro_f1"))
    print(ROW.format(data.name, who, *figures, f"{seconds:.0f}", over, mb, why), flush=True)


def engine(data: Path, minutes: float) -> None:
    with tempfile.TemporaryDirectory() as out:
        began = time.monotonic()
        fitted = run("training.engine", "fit", str(data), "--out", out, "--minutes", str(minutes), "--json")
        seconds = time.monotonic() - began
        judged = run("training.engine", "evaluate", fitted["bundle"], str(data), "--json")
    over = f"{max(0.0, seconds - 60 * minutes):.0f} s"
    why = f"{fitted['stop_reason']}: {fitted['best']['network']}, {fitted['best']['recipe']}"
    show(data, f"engine {minutes:g} min", judged, seconds, over, fitted["peak_rss_mb"], why)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 6])
    options = parser.parse_args()
    print(ROW.format("data", "who", "accuracy", "macro F1", "seconds", "over", "peak MB", "ended"))
    for data in options.data:
        probe = run("benchmarks.probe", str(data))
        show(data, "probe", probe, probe["seconds"], "", probe["peak_rss_mb"], "")
        for minutes in options.minutes:
            engine(data, minutes)


if __name__ == "__main__":
    main()
