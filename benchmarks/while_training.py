"""Response times of the pages while a training runs on the same cores.

`python -m benchmarks.while_training` starts the real product in a folder of its own, asks for the grid of
Label Data and for the polled status fragment, first at rest, then while the sample project trains, and prints
the median and the 95th percentile of both with their ratio. Times are those of whole requests over loopback.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.flowers import start_training
from tests.supervisor_process import Product


def request_times(product: Product, path: str, seconds: float) -> list[float]:
    """Milliseconds of one request after the other, with a short pause as a person's browser makes."""
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        product.get(path, **{"HX-Request": "true"})
        times.append((time.monotonic() - start) * 1000)
        time.sleep(0.05)
    return times


def percentile_95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def wait_for_running(product: Product, status: str) -> None:
    end = time.monotonic() + 60
    while "Running" not in product.get(status):
        if time.monotonic() > end:
            raise TimeoutError("The training did not start within a minute.")
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of requests for each figure")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, Product(Path(folder) / "data") as product:
        product.sign_in()
        project = product.project_id("handwritten-digits")
        grid = f"/projects/{project}/label-data/"
        version = start_training(product, project)
        status = f"{version}status/"
        wait_for_running(product, status)
        time.sleep(5)
        busy = {
            "grid": request_times(product, grid, seconds),
            "status": request_times(product, status, seconds),
        }
        still_running = "Running" in product.get(status)
        product.post(f"{version}stop/", {})
        while "Running" in product.get(status):
            time.sleep(1)
        time.sleep(3)
        rest = {
            "grid": request_times(product, grid, seconds),
            "status": request_times(product, status, seconds),
        }
    print(f"training ran all the while: {still_running}")
    print("| page | at rest p50 / p95 ms | while training p50 / p95 ms | p95 ratio |")
    print("|---|---|---|---|")
    for name in rest:
        calm, loaded = percentile_95(rest[name]), percentile_95(busy[name])
        print(
            f"| {name} | {statistics.median(rest[name]):.0f} / {calm:.0f} "
            f"| {statistics.median(busy[name]):.0f} / {loaded:.0f} | {loaded / calm:.1f} |"
        )


if __name__ == "__main__":
    main()
