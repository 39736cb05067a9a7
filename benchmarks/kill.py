"""Kills processes while people upload, label, import, train, predict batches and deploy: nothing may be lost.

    python -m benchmarks.kill [--kills 500] [--every 3] [--seed 0] [--actors labels imports …] [--folder DIR]

The product runs with embedded Redis and SQLite. Every `--every` seconds one of its processes gets SIGKILL: a
process of the web server, a worker, the process of a job, Redis, the scheduler, or the supervisor with all
below it, which is then started again as an operator would. Meanwhile actors repeat each request until it is
acknowledged, and note what was acknowledged. Three minutes after the last kill at most, the database and the
files are compared with the notes:

lost      acknowledged, but not in the database, or its file is not in the storage or has other bytes
doubled   acknowledged once, but in the database twice
stuck     still waiting, running or deploying
failed    ended as Failed; the reasons are printed. A training that is killed three times fails by design.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import django

from benchmarks.flowers import create_project, deploy, train, upload_and_label
from benchmarks.importing import noise
from benchmarks.kill_actors import ACTORS, Notes, actor_threads
from benchmarks.kill_check import Verdict, check, is_quiet, live_trainings
from tests.supervisor_process import Product

SETTLE_S = 180.0
TRAINING_S = 600.0
RESTARTS = 10
# What a process is, by words of its command line, in the order of the search; and how often it is chosen.
KINDS = {
    "web": (("gunicorn", "granian"), 6),
    "training worker": (("rqworker gpu",), 2),
    "labeling worker": (("rqworker labeling",), 2),
    "imports worker": (("rqworker imports",), 4),
    "short worker": (("rqworker short",), 2),
    "scheduler": (("rqcron",), 1),
    "redis": (("redis-server",), 2),
}
SUPERVISOR, SUPERVISOR_WEIGHT, HORSE_WEIGHT = "supervisor", 1, 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--actors", nargs="+", choices=sorted(ACTORS), default=sorted(ACTORS))
    parser.add_argument("--folder", type=Path, help="keep the data folder here (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exeml-kill-") as temporary:
        folder = options.folder or Path(temporary)
        print_verdict(*torture(folder / "data", options))


def torture(folder: Path, options: argparse.Namespace) -> tuple[Notes, Counter[str], Verdict]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    product = Product(folder)
    product.__enter__()
    notes = Notes(product)
    try:
        prepare(product, notes, options.actors)
        connect_to_database(folder)
        threads = actor_threads(notes, options.actors)
        for thread in threads:
            thread.start()
        killer = Killer(product, random.Random(options.seed))
        kills = killer.run(options.kills, options.every)
        print(f"{killer.failed_starts} starts of the supervisor failed", flush=True)
        notes.is_over.set()
        settle(notes, threads)
        return notes, kills, check(notes)
    finally:
        product.__exit__(None, None, None)


def connect_to_database(folder: Path) -> None:
    os.environ.update(EXEML_DATA=str(folder), EXEML_LOG_LEVEL="ERROR")
    os.environ["DJANGO_SETTINGS_MODULE"] = "exeml_site.settings"
    django.setup()


def prepare(product: Product, notes: Notes, actors: list[str]) -> tuple[str, str]:
    """Make the project of the actors, with a trained version and a service where an actor needs one.

    Returns the path and the token of the service.
    """
    product.sign_in()
    notes.project = create_project(product, "killed")
    folder = product.folder.parent / "photos"
    paths = []
    for number in range(24):
        path = folder / ("roses", "tulips")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(10_000 + number))
        paths.append(path)
    notes.trained_project = create_project(product, "trained")
    upload_and_label(product, notes.trained_project, paths)
    if {"batches", "services"} & set(actors):
        seconds, _ = train(product, notes.trained_project, "0.1")
        print(f"a first version after {seconds:.0f} s", flush=True)
        address, token = deploy(product, notes.trained_project)
        notes.service = address.rpartition("/")[2]
        return address, token
    return "", ""


class Killer:
    """Sends SIGKILL to processes of the product and starts its supervisor again."""

    def __init__(self, product: Product, chance: random.Random) -> None:
        self.product, self.chance, self.done = product, chance, Counter[str]()
        self.failed_starts = 0

    def run(self, kills: int, every_s: float) -> Counter[str]:
        """Kill `kills` processes; how often each kind was killed."""
        while self.done.total() < kills:
            time.sleep(every_s * self.chance.uniform(0.5, 1.5))
            kind, pid = self._choose()
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.done[kind] += 1
            if kind == SUPERVISOR:
                self._start_again()
            if self.done.total() % 25 == 0:
                print(f"{self.done.total()} kills", flush=True)
        return self.done

    def _start_again(self) -> None:
        """Start the supervisor as a service manager does: again while its first attempts fail."""
        self.product.process.wait()
        for attempt in range(RESTARTS):
            try:
                self.product.__enter__()
                return
            except RuntimeError:
                self.failed_starts += 1
                if attempt == RESTARTS - 1:
                    raise
                time.sleep(1)

    def _choose(self) -> tuple[str, int]:
        chosen = [(SUPERVISOR, self.product.process.pid, SUPERVISOR_WEIGHT)]
        for pid, depth, command in descendants(self.product.process.pid):
            for kind, (words, weight) in KINDS.items():
                if any(word in command for word in words):
                    is_job = depth > 1 and "worker" in kind
                    name = kind.replace("worker", "job") if is_job else kind
                    chosen.append((name, pid, HORSE_WEIGHT if is_job else weight))
                    break
        kind, pid, _ = self.chance.choices(chosen, [weight for *_, weight in chosen])[0]
        return kind, pid


def descendants(root: int) -> list[tuple[int, int, str]]:
    """The processes below `root`: id, distance from `root`, command line of the process or of its parent."""
    table = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in table.splitlines()[1:]]
    below, found = {root: (0, "")}, []
    for _ in range(4):
        for pid, parent, *command in rows:
            if int(parent) in below and int(pid) not in below:
                depth, above = below[int(parent)]
                # A job's process keeps its worker's command, or shows a name of its own.
                text = above if depth and "worker" in above else "".join(command)
                below[int(pid)] = (depth + 1, text)
                found.append((int(pid), depth + 1, text))
    return found


def settle(notes: Notes, threads: list[threading.Thread]) -> None:
    """Wait until the actors' last requests are acknowledged and no work is left, for SETTLE_S at most.

    A training that a worker is working on may take longer, up to its limit.
    """
    end = time.monotonic() + SETTLE_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    while time.monotonic() < end and not is_quiet(notes):
        time.sleep(2)
    while time.monotonic() < end + TRAINING_S and live_trainings(notes):
        time.sleep(2)


def print_verdict(notes: Notes, kills: Counter[str], verdict: Verdict) -> None:
    print(f"\n{kills.total()} kills: " + ", ".join(f"{count} {kind}" for kind, count in kills.most_common()))
    print("acknowledged: " + ", ".join(f"{count:,} {kind}" for kind, count in notes.totals().items()))
    print(f"requests sent again: {notes.retries:,}; answers 5xx: {dict(notes.errors)}")
    for name, entries in verdict.rows().items():
        print(f"{name:<8}{len(entries):>4}" + "".join(f"\n         {entry}" for entry in entries[:10]))


if __name__ == "__main__":
    main()
