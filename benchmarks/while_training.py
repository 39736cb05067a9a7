"""A training on a busy machine: its first model, its time limit, and the pages beside it.

    python -m benchmarks.while_training [--people 20] [--embeddings 2000] [--busy 0] [--hours 0.1]

starts the real product in a folder of its own and trains the sample project, while people click (each asks
for the grid of Label Data or the polled status fragment, then thinks for a second), while a worker embeds the
images of another project, and while `--busy` processes of niceness 0 compute without pause. Then people click
at rest. It prints when the first model existed, how long the training took beyond its limit, how many images
were embedded meanwhile, and the median and the 95th percentile of the pages, in ms of whole requests.

Two versions of the program are compared in turns, on one machine and in one run: absolute figures say little.
"""

from __future__ import annotations

import argparse
import io
import json
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.flowers import create_project, start_training
from benchmarks.training_starts import FINAL, busy_processes, read_version
from tests.supervisor_process import Product

THINKING_S = 1.0
UPLOAD_SIZE = 50  # files of one upload
AT_REST_S = 10
Times = dict[str, list[float]]


def photo(seed: int) -> bytes:
    """A noisy JPEG file of 640 × 480 pixels that differs for every seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((640, 480)).save(out, "JPEG")
    return out.getvalue()


def click(product: Product, paths: dict[str, str], is_over: Callable[[], bool], times: Times) -> None:
    """One person's requests, one page after the other, until `is_over`; adds their milliseconds."""
    while not is_over():
        for name, path in paths.items():
            began = time.monotonic()
            product.get(path, **{"HX-Request": "true"})
            times[name].append((time.monotonic() - began) * 1000)
            time.sleep(THINKING_S)


@contextmanager
def clicking(product: Product, paths: dict[str, str], people: int) -> Iterator[Times]:
    """So many people click inside; gives the milliseconds of their requests by page."""
    times: Times = {name: [] for name in paths}
    end = threading.Event()
    with ThreadPoolExecutor(people) as pool:
        clicks = [pool.submit(click, product, paths, end.is_set, times) for _ in range(people)]
        try:
            yield times
        finally:
            end.set()
        for each in clicks:
            each.result()


@contextmanager
def uploading(product: Product, project: int, count: int) -> Iterator[None]:
    """Images of another project arrive, and are embedded as they do."""

    def upload() -> None:
        for start in range(0, count, UPLOAD_SIZE):
            seeds = range(start, min(count, start + UPLOAD_SIZE))
            files = {f"{seed}.jpg": photo(seed) for seed in seeds}
            product.upload(f"/projects/{project}/images/upload/", "files", files)

    with ThreadPoolExecutor(1) as pool:
        upload_job = pool.submit(upload)
        yield
        upload_job.result()


def ask(product: Product, query: str) -> Any:
    address = f"file:{product.folder / 'exeml.sqlite3'}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=60)) as database:
        return database.execute(query).fetchone()[0]


def embedded(product: Product, project: int) -> int:
    images = f"SELECT id FROM projects_image WHERE project_id = {project}"
    return int(ask(product, f"SELECT count(*) FROM projects_embedding WHERE image_id IN ({images})"))


def follow(product: Product, other: int, limit_s: float) -> dict[str, float]:
    """Wait for the end of the training; what happened and when, in seconds since a worker took it."""
    facts = dict[str, float]()
    while (version := read_version(product, 1))["status"] not in FINAL:
        curve = version["progress"].get("curve")
        if curve and "first model s" not in facts:
            facts |= {"first model s": curve[0][0], "embedded by then": embedded(product, other)}
        time.sleep(1)
    used_s = version["progress"]["used_s"]
    print(version["status"], version["failure_cause"], json.dumps(version["progress"].get("notes")))
    print("seconds by phase:", ask(product, "SELECT seconds_by_phase FROM training_trainingversion"))
    return facts | {
        "used s": used_s,
        "beyond the limit s": used_s - limit_s,
        "embedded": embedded(product, other),
    }


def percentile_95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--embeddings", type=int, default=2000, help="images of another project")
    parser.add_argument("--busy", type=int, default=0, help="processes that compute without pause")
    parser.add_argument("--hours", default="0.1", help="Max. Training Time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Product(Path(folder) / "data") as product:
        product.sign_in()
        project, other = product.project_id("handwritten-digits"), create_project(product, "other")
        grid, status = f"/projects/{project}/label-data/", f"/projects/{project}/train-model/1/status/"
        with busy_processes(options.busy), uploading(product, other, options.embeddings):
            start_training(product, project, options.hours)
            with clicking(product, {"grid": grid, "status": status}, options.people) as busy:
                facts = follow(product, other, float(options.hours) * 3600)
        with clicking(product, {"grid": grid, "status": status}, options.people) as rest:
            time.sleep(AT_REST_S)
    for name, value in facts.items():
        print(f"{name}: {value:.0f}")
    for name in rest:
        print(
            f"{name}: at rest p50 {statistics.median(rest[name]):.0f}, p95 {percentile_95(rest[name]):.0f}; "
            f"while training p50 {statistics.median(busy[name]):.0f}, p95 {percentile_95(busy[name]):.0f}"
        )


if __name__ == "__main__":
    main()
