"""Calls of a service of the real product, against the bare model in one process.

    python -m benchmarks.serving BUNDLE PHOTO [--other BUNDLE] [--seconds 8] [--calls 10000]
                                 [--photos FOLDER --batch 10000] [--peers]

BUNDLE is a trained model's folder (`python -m training.engine fit`). Printed is one JSON object, all of it
from one run on one machine, clients included:

  single      p50 and p95 ms of one call after the other: over HTTP, and of decoding, resizing and the network
              in this process; their ratios. Calls alternate, so that a busy minute affects both
  throughput  calls a second of 1, 4, 16, 64 clients that never pause, with p95 and what was not answered with
              200, beside the best of the bare model with 1, 2 or 4 threads
  storm       `--calls` calls while versions change places, web workers are killed and another service stops:
              wrong answers, statuses, lost connections (each call is repeated), feedback that is lost
  hostile     bombs, cut off files, wrong parts, 10,000 parts, slow bodies: statuses, memory before and after
  batch       with --photos: so many images in a zip archive, the worker killed on the way: what is missing,
              twice or wrong in the results
  peers       with --peers: LitServe and FastAPI + PyTorch, each in an environment of its own
              (benchmarks/peers/serving_peers.py), with the same network and image
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.calling import load, percentiles, timed
from benchmarks.served import DeployedService, deploy_two_services
from benchmarks.serving_batch import batch
from benchmarks.serving_hostile import hostile
from benchmarks.serving_storm import Storm
from tests.supervisor_process import Product
from training.engine.bundle.bundle import Bundle

CLIENTS = (1, 4, 16, 64)
TURNS, TURN_CALLS = 6, 50
SETTLE_S = 30  # the first start looks at its sample project in the background


def bare_throughput(bundle: Path, photo: bytes, seconds: float) -> dict[str, float]:
    """Answers a second of the bare model: threads of this process × threads of the network."""
    found = {}
    for askers, threads in ((1, os.cpu_count() or 2), (2, 1), (4, 1)):
        model, until = Bundle.load(bundle, threads), time.monotonic() + seconds

        def ask(model: Bundle = model, until: float = until) -> int:
            count = 0
            while time.monotonic() < until:
                model.answer(photo)
                count += 1
            return count

        with ThreadPoolExecutor(askers) as pool:
            total = sum(pool.map(lambda _, ask=ask: ask(), range(askers)))
        found[f"{askers}x{threads}"] = round(total / seconds, 1)
    return found


def single(service: DeployedService, model: Bundle, photo: bytes) -> dict[str, Any]:
    """Calls one after the other, alternating with the bare model."""
    caller, http, bare = service.caller(), list[float](), list[float]()
    for _ in range(TURNS):
        http += timed(lambda: caller.call(photo), TURN_CALLS)
        bare += timed(lambda: model.answer(photo), TURN_CALLS)
    found = {"http": percentiles(http), "bare": percentiles(bare)}
    return found | {
        "ratio": {key: round(found["http"][key] / found["bare"][key], 2) for key in ("p50", "p95")}
    }


def throughput(service: DeployedService, bundle: Path, photo: bytes, seconds: float) -> dict[str, Any]:
    bare = bare_throughput(bundle, photo, seconds)
    loads = {clients: load(service.caller, photo, clients, seconds) for clients in CLIENTS}
    best = max(bare.values())
    shares = {clients: round(one["per_second"] / best, 2) for clients, one in loads.items()}
    return {"bare": bare, "clients": loads, "share_of_bare": shares}


def expected(models: dict[str, Bundle], photo: bytes) -> dict[str, tuple[str, float]]:
    """Version → (label, score) for the photo."""
    scores = {name: model.answer(photo).scores for name, model in models.items()}
    return {name: (models[name].labels[int(one.argmax())], float(one.max())) for name, one in scores.items()}


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """All measurements; each is printed on standard error when it is done."""
    photo, found = asked.photo.read_bytes(), dict[str, Any]()
    other = asked.other or asked.bundle
    models = {"V001": Bundle.load(asked.bundle, os.cpu_count()), "V002": Bundle.load(other, os.cpu_count())}

    def report(name: str, value: dict[str, Any]) -> None:
        found[name] = value
        print(json.dumps({name: value}), file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder, Product(Path(folder) / "data") as product:
        services = deploy_two_services(product, asked.bundle, other)
        time.sleep(SETTLE_S)
        report("single", single(services[0], models["V001"], photo))
        report("throughput", throughput(services[0], asked.bundle, photo, asked.seconds))
        report("hostile", hostile(services[0], photo))
        if asked.photos:
            photos = sorted(asked.photos.rglob("*.jpg"))
            report("batch", batch(services[0], models["V001"], photos, asked.batch))
        report("storm", Storm(services, expected(models, photo), photo, asked.calls).run())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--other", type=Path, help="another bundle, for the storm (default: the same)")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--photos", type=Path, help="a folder of pictures (.jpg) for a batch")
    parser.add_argument("--batch", type=int, default=10_000, help="pictures of the batch")
    parser.add_argument("--peers", action="store_true")
    asked = parser.parse_args()
    found = measure(asked)
    if asked.peers:
        from benchmarks.peers import serving_peers

        calls = TURNS * TURN_CALLS
        found["peers"] = serving_peers.measure(
            asked.bundle, asked.photo.read_bytes(), calls, CLIENTS, asked.seconds
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
