"""Processes whose first two predictions begin at the same moment in two threads: how many hang.

`python -m benchmarks.first_inference` starts 200 processes, four at a time. In each, two threads load a small
model and predict an image as soon as both are ready; a process that has not ended after `--timeout` seconds
hangs. `--cold` leaves out the warm inference of `training.engine.runtime`, for comparison.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def write_model(folder: Path) -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from tests.training.bundles import write_colour_bundle

    write_colour_bundle(folder)


def predict_twice(folder: Path, is_cold: bool) -> None:
    """Runs in each process."""
    from PIL import Image

    from training.engine import runtime
    from training.engine.bundle.bundle import Bundle

    if is_cold:
        runtime._make_inferences = lambda openvino: None
    together = threading.Barrier(2)

    def predict() -> None:
        together.wait()
        Bundle.load(folder, 2).predict_one(Image.new("RGB", (64, 64), "grey"))

    threads = [threading.Thread(target=predict) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ends_in_time(folder: Path, is_cold: bool, timeout_s: float) -> bool:
    command = [sys.executable, "-m", __spec__.name, "--in", str(folder), *["--cold"] * is_cold]
    try:
        subprocess.run(command, timeout=timeout_s, check=True)
    except subprocess.TimeoutExpired:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=200)
    parser.add_argument("--together", type=int, default=4, help="processes at a time")
    parser.add_argument("--timeout", type=float, default=120, help="seconds after which a process hangs")
    parser.add_argument("--cold", action="store_true", help="without the warm inference")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        predict_twice(options.folder, options.cold)
        return
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as parent, ThreadPoolExecutor(options.together) as pool:
        folder = Path(parent) / "bundle"
        write_model(folder)
        ended = list(
            pool.map(lambda _: ends_in_time(folder, options.cold, options.timeout), range(options.processes))
        )
    print(
        f"{ended.count(False)} of {len(ended)} processes hung "
        f"(load {os.getloadavg()[0]:.0f}, {time.monotonic() - began:.0f} s)"
    )


if __name__ == "__main__":
    main()
