"""Stops processes of the running product as a hang would (SIGSTOP) and measures until they are replaced.

`python -m benchmarks.hangs` starts the real product in a folder of its own and a training of the sample
project. It stops the process of the training, then each worker and a web process, and prints the seconds
until another process has taken the place; for the training, until its next attempt has begun.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.training_starts import read_version, submit
from tests.supervisor_process import Product

MAX_WAIT_S = 300
PARTS = ("rqworker gpu cpu", "rqworker labeling", "rqworker imports", "rqworker short", "rqcron")


def processes_of(product: Product, part: str) -> list[int]:
    """The processes over the product's folder whose command line has `part`."""
    variable, pids = f"EXEML_DATA={product.folder}".encode(), list[int]()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if part in line and variable in (process / "environ").read_bytes().split(b"\0"):
                pids.append(int(process.name))
        except OSError:
            continue
    return sorted(pids)


def seconds_until(is_so: Callable[[], object]) -> float:
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > MAX_WAIT_S:
            return float("inf")
        time.sleep(0.5)
    return time.monotonic() - began


def stop_training(product: Product) -> float:
    """Stop the process of a training that makes progress; seconds until its next attempt makes some."""
    seconds_until(lambda: "remaining_s" in read_version(product, 1)["progress"])
    (horse,) = processes_of(product, "main_work_horse")
    os.kill(horse, signal.SIGSTOP)

    def goes_on() -> bool:
        version = read_version(product, 1)
        return version["attempt"] == 2 and "Resuming" not in version["progress"].get("message", "")

    return seconds_until(goes_on)


def stop_part(product: Product, part: str) -> float:
    before = processes_of(product, part)
    os.kill(before[-1], signal.SIGSTOP)
    return seconds_until(lambda: len(now := processes_of(product, part)) == len(before) and now != before)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Product(Path(folder) / "data") as product:
        product.sign_in()
        submit(product, product.project_id("handwritten-digits"))
        print(f"the process of a training: its work goes on after {stop_training(product):.0f} s", flush=True)
        for part in (*PARTS, "gunicorn"):
            print(f"{part}: replaced after {stop_part(product, part):.0f} s", flush=True)


if __name__ == "__main__":
    main()
