"""Starts of trainings on a busy machine: how many of them train.

`python -m benchmarks.training_starts --starts 50 --busy 20` starts the real product in a folder of its own
and 20 processes that compute without pause. It submits a training of the sample project, waits until the
engine reports progress, stops it and waits for its end, 50 times. A start that ends before the engine
reported progress, or needed a second attempt, counts as failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.supervisor_process import Product

MAX_WAIT_S = 600
FINAL = ("Completed", "Failed", "Stopped")


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def read_version(product: Product, number: int) -> dict[str, Any]:
    """The version's row, as it is in the database."""
    columns = ("status", "attempt", "progress", "failure_cause")
    query = f"SELECT {', '.join(columns)} FROM training_trainingversion WHERE number = ?"
    address = f"file:{product.folder / 'exeml.sqlite3'}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=60)) as database:
        row = dict(zip(columns, database.execute(query, [number]).fetchone(), strict=True))
    return row | {"progress": json.loads(row["progress"])}


def submit(product: Product, project: int) -> None:
    configure = f"/projects/{project}/train-model/configure/"
    _, receipt = product.post(configure, product.form_values(product.get(configure)))
    product.post(f"{configure}submit/", product.form_values(receipt))


def start_once(product: Product, project: int, number: int) -> tuple[float | None, str]:
    """Seconds from Submit to the engine's first progress, None if it never came; and what happened."""
    began = time.monotonic()
    submit(product, project)
    seconds = None
    while time.monotonic() - began < MAX_WAIT_S:
        version = read_version(product, number)
        if seconds is None and "remaining_s" in version["progress"]:
            seconds = time.monotonic() - began
            product.post(f"/projects/{project}/train-model/{number}/stop/", {})
        if version["status"] in FINAL:
            break
        time.sleep(0.5)
    what = f"{version['status']}, attempt {version['attempt']} {version['failure_cause']}".strip()
    return (seconds if version["attempt"] == 1 else None), what


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--busy", type=int, default=20, help="processes that compute without pause")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Product(Path(folder) / "data") as product:
        product.sign_in()
        project = product.project_id("handwritten-digits")
        with busy_processes(options.busy):
            times = list[float]()
            for number in range(1, options.starts + 1):
                seconds, what = start_once(product, project, number)
                times += [] if seconds is None else [seconds]
                load = os.getloadavg()[0]
                print(f"{number}: {what}; progress after {seconds} s; load {load:.0f}", flush=True)
    print(f"{len(times)} of {options.starts} starts trained with {options.busy} busy processes")
    if times:
        print(f"first progress after {statistics.median(times):.0f} s (median), {max(times):.0f} s (longest)")


if __name__ == "__main__":
    main()
