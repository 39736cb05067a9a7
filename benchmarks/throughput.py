"""Calls a second of a service of the real product, beside the limit of the machine and beside its peers.

    python -m benchmarks.throughput BUNDLE PHOTO [--turns 5] [--seconds 3] [--no-peers]

All servers run at once and are asked in turns, so that a busy minute affects all of them. The limit: one
process for each core that decodes, resizes and asks the network with one thread, without HTTP. The peers,
each at its best of two settings: LitServe with the product's OpenVINO model, FastAPI + PyTorch. OpenVINO
Model Server is no package of Python or Debian.

Printed is one JSON object: calls a second (median of the turns), CPU milliseconds of the server for one call,
and the product's ratio to the limit and to each peer in the same turn (median). CPU milliseconds vary least
where other programs run beside: `cpu_share_of_limit` is the limit's divided by the product's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.calling import Caller, load
from benchmarks.peers import serving_peers
from benchmarks.served import deploy_two_services, web_workers
from tests.supervisor_process import Product

CLIENTS = (1, 4, 16)
SETTLE_S = 30  # the first start looks at its sample project in the background
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
LIMIT_SCRIPT = """
import json, sys, time
from pathlib import Path
from training.engine.bundle.bundle import Bundle
model, photo = Bundle.load(Path(sys.argv[1]), 1), Path(sys.argv[2]).read_bytes()
model.answer(photo)
for line in sys.stdin:
    count, cpu, until = 0, time.process_time(), time.monotonic() + float(line)
    while time.monotonic() < until:
        model.answer(photo)
        count += 1
    print(json.dumps([count, 1e3 * (time.process_time() - cpu)]), flush=True)
"""
Measured = tuple[float, float]  # answers a second, CPU ms of one


class Limit:
    """A process for each core, which answers without HTTP."""

    def __init__(self, bundle: Path, photo: Path) -> None:
        command = [sys.executable, "-c", LIMIT_SCRIPT, str(bundle), str(photo)]
        environment = os.environ | serving_peers.ONE_THREAD
        self.processes = [
            subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(os.cpu_count() or 1)
        ]

    def measure(self, seconds: float) -> Measured:
        for one in self.processes:
            print(seconds, file=one.stdin, flush=True)
        found = [json.loads(one.stdout.readline()) for one in self.processes if one.stdout]
        answers = sum(count for count, _ in found)
        return answers / seconds, sum(ms for _, ms in found) / max(answers, 1)

    def close(self) -> None:
        for one in self.processes:
            one.communicate()


def cpu_ms(processes: list[int]) -> float:
    """CPU time of processes, so far."""
    total = 0
    for pid in processes:
        values = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(values[11]) + int(values[12])
    return total * TICK_MS


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs, pids = [tuple(map(int, line.split())) for line in found.splitlines()[1:]], [pid]
    for parent in pids:
        pids += [child for child, its_parent in pairs if its_parent == parent]
    return pids


def served(
    make: Callable[[], Caller], processes: list[int], photo: bytes, clients: int, seconds: float
) -> Measured:
    before = cpu_ms(processes)
    answered = load(make, photo, clients, seconds)["per_second"]
    return answered, (cpu_ms(processes) - before) / max(answered * seconds, 1)


@contextlib.contextmanager
def servers(bundle: Path, with_peers: bool) -> Iterator[dict[str, tuple[Callable[[], Caller], list[int]]]]:
    """Name → clients and processes of a server."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        product = stack.enter_context(Product(folder / "data"))
        service = deploy_two_services(product, bundle, bundle)[0]
        found = {"product": (service.caller, web_workers(product))}
        for name, port, pid in serving_peers.run_all(bundle, folder, stack) if with_peers else ():
            found[name] = partial(Caller, port, serving_peers.PATH, ""), family(pid)
        time.sleep(SETTLE_S)
        yield found


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    photo, limit = asked.photo.read_bytes(), Limit(asked.bundle, asked.photo)
    turns: dict[str, list[Measured]] = {}
    with contextlib.closing(limit), servers(asked.bundle, asked.peers) as running:
        for make, _ in running.values():
            load(make, photo, max(CLIENTS), 2)
        for _ in range(asked.turns):
            turns.setdefault("limit", []).append(limit.measure(asked.seconds))
            for name, (make, processes) in running.items():
                for clients in CLIENTS:
                    one = served(make, processes, photo, clients, asked.seconds)
                    turns.setdefault(f"{name}, {clients} clients", []).append(one)
    return summary(turns)


def summary(turns: dict[str, list[Measured]]) -> dict[str, Any]:
    rows = {
        name: {"per_second": round(median(rate for rate, _ in found), 1)}
        | {"cpu_ms": round(median(ms for _, ms in found), 1)}
        for name, found in turns.items()
    }
    best = {
        name: [max(turns[key][turn][0] for key in turns if key.startswith(name)) for turn in range(count)]
        for name in ("product", "limit", "litserve", "fastapi")
        if any(key.startswith(name) for key in turns)
        for count in [len(turns["limit"])]
    }
    own = best.pop("product")
    ratios = {
        name: round(median(mine / max(other, 0.1) for mine, other in zip(own, others, strict=True)), 2)
        for name, others in best.items()
    }
    lowest = min(row["cpu_ms"] for name, row in rows.items() if name.startswith("product"))
    return {
        "turns": rows,
        "ratio_of_best": ratios,
        "cpu_share_of_limit": round(rows["limit"]["cpu_ms"] / lowest, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    print(json.dumps(measure(parser.parse_args()), indent=1))


if __name__ == "__main__":
    main()
