"""Calls of a service of the real product, against the bare model in one process.

    python -m benchmarks.serving BUNDLE PHOTO [--other BUNDLE] [--seconds 8] [--calls 10000] [--peers]

BUNDLE is a trained model's folder (`python -m training.engine fit`). Printed is one JSON object, all of it
from one run on one machine, clients included:

  single      p50 and p95 ms of one call after the other: over HTTP, and of decoding, resizing and the network
              in this process; their ratios
  throughput  calls a second of 1, 4, 16, 64 clients that never pause, with p95 and what was not answered with
              200, beside the best of the bare model with 1, 2 or 4 threads
  storm       `--calls` calls while versions change places, web workers are killed and another service stops:
              wrong answers, statuses, lost connections (each asked again), feedback that is not kept
  hostile     bombs, cut off files, wrong parts, 10,000 parts, slow bodies: statuses, memory before and after
  peers       with --peers: LitServe and FastAPI + PyTorch, each in an environment of its own
              (benchmarks/peers/serving_peers.py), with the same network and picture
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.calling import Caller, load, percentiles, timed
from tests.supervising import Product
from training.engine.bundle import Bundle

CLIENTS = (1, 4, 16, 64)
SINGLE_CALLS = 300
SETTLE_S = 30  # the first start looks at its sample project in the background
PREPARE = """
import os, sys, shutil, json, django
os.environ["DJANGO_SETTINGS_MODULE"] = "exeml_site.settings"
django.setup()
from django.core.files.storage import default_storage
from tests.making import make_project, make_user, make_version
from training.models import Service, Status
from training.services import deploying
project = make_project("benchmark", labels=2, images=0)
versions = []
for number, bundle in enumerate(sys.argv[1:], 1):
    version = make_version(project, number, Status.COMPLETED)
    shutil.copytree(bundle, default_storage.path(version.folder + "/bundle"))
    versions.append(version)
found = []
for name in ("calls", "stops"):
    service, token = deploying.deploy(versions[0], make_user("alice"), None)
    deploying.collect(service, name == "stops", 30, make_user("alice"))
    deploying.bring_up(str(service.pk))
    found.append([str(service.pk), token.plain])
print(json.dumps(found))
"""
DEED = """
import os, sys, django
os.environ["DJANGO_SETTINGS_MODULE"] = "exeml_site.settings"
django.setup()
from django.contrib.auth.models import User
from training.models import Service, TrainingVersion, CollectedCall
from training.services import deploying, switching
user = User.objects.get(username="alice")
service = Service.objects.get(pk=sys.argv[2])
if sys.argv[1] == "change":
    other = service.project.training_versions.exclude(pk=service.training_version_id).get()
    switching.change_version(service, other, user)
    switching.change_over(str(service.pk))
elif sys.argv[1] == "stop":
    deploying.stop(service, user)
else:
    print(CollectedCall.objects.filter(service=service).exclude(verdict="").count())
"""


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


def web_workers(product: Product) -> list[int]:
    """The processes of gunicorn that answer: children of its first process."""
    found = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in found.splitlines()[1:]]
    web = [(int(pid), int(parent)) for pid, parent, command in rows if "gunicorn exeml_site" in command]
    ours = {pid for pid, parent in web if parent == product.process.pid}
    return [pid for pid, parent in web if parent in ours]


def resident_mb(product: Product) -> float:
    total = 0
    for pid in web_workers(product):
        status = Path(f"/proc/{pid}/status").read_text()
        total += int(status.split("VmRSS:")[1].split()[0])
    return round(total / 1024, 1)


def storm(
    product: Product,
    services: list[list[str]],
    answers: dict[str, tuple[str, float]],
    photo: bytes,
    calls: int,
) -> dict[str, Any]:
    """`answers`: version → (label, score) that it must give."""
    left, lock, wrong, statuses, kept = (
        iter(range(calls)),
        threading.Lock(),
        Counter[str](),
        Counter[str](),
        [],
    )
    (first, token), (second, other_token) = services
    paths = [(f"/v1/infers/{first}", token), (f"/v1/infers/{second}", other_token)]
    is_over = threading.Event()

    def work(number: int) -> int:
        path, secret = paths[number % 4 == 3]
        caller = Caller(product.port, path, secret)
        while True:
            with lock:
                if next(left, None) is None:
                    return caller.lost
            status, answer = caller.call(photo)
            if status != 200:
                statuses[f"{status} {answer.get('error_code')}"] += 1
                continue
            statuses["200"] += 1
            label, score = answers[answer["version"]]
            top = answer["scores"][0]
            if top[0] != label or abs(top[1] - score) > 2e-3:
                wrong[str(top)] += 1
            if answer["is_collected"] and statuses["200"] % 10 == 0:
                said = json.dumps({"request_id": answer["request_id"], "is_right": True}).encode()
                code, _ = caller.send(f"{path}/feedback", said, "application/json")
                if code == 200:
                    kept.append(answer["request_id"])

    def disturb() -> None:
        for turn in range(1000):
            if is_over.wait(2):
                return
            if turn == 4:
                deed(product, "stop", second)
            elif turn % 3 == 2:
                os.kill(web_workers(product)[0], signal.SIGKILL)
            else:
                deed(product, "change", first)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    with ThreadPoolExecutor(16) as pool:
        lost = sum(pool.map(work, range(16)))
    is_over.set()
    disturber.join()
    stored = int(deed(product, "count", second))
    return {
        "calls": calls,
        "wrong_answers": sum(wrong.values()),
        "statuses": dict(statuses),
        "lost_connections": lost,
        "feedback_confirmed": len(set(kept)),
        "feedback_stored": stored,
    }


def deed(product: Product, *arguments: str) -> str:
    command = [sys.executable, "-c", DEED, *arguments]
    done = subprocess.run(command, env=product.environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def png_bomb(side: int) -> bytes:
    """A picture of side × side black pixels, some kilobytes small."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        mark = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + mark

    head = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(1 + 3 * side)) for _ in range(side)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def hostile(product: Product, service: list[str], photo: bytes) -> dict[str, Any]:
    """{name: status and code}; and the memory of the web workers."""
    path, before = f"/v1/infers/{service[0]}", resident_mb(product)
    caller, edge = Caller(product.port, path, service[1]), "edge"
    kind = f"multipart/form-data; boundary={edge}"

    def part(name: str, content: bytes) -> bytes:
        head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'
        return head.encode() + content + b"\r\n"

    end = f"--{edge}--\r\n".encode()
    bodies = {
        "bomb of 400 megapixels": part("images", png_bomb(20_000)) + end,
        "cut off": part("images", photo[: len(photo) // 2]) + end,
        "picture before a program": part("images", photo + b"<script>alert(1)</script>" * 100) + end,
        "wrong part": part("file", photo) + end,
        "10,000 parts": b"".join(part("images", b"x") for _ in range(10_000)) + end,
        "no end": part("images", photo),
        "nothing": b"",
    }
    found: dict[str, Any] = {}
    for name, body in bodies.items():
        status, answer = caller.send(path, body, kind)
        found[name] = f"{status} {answer.get('error_code', answer.get('predicted_label'))}"
    found["60 bombs at once"] = dict(_at_once(product, service, bodies["bomb of 400 megapixels"], kind))
    found["slow bodies do not keep others waiting"] = _beside_slow(product, service, photo)
    return found | {"web_rss_mb": {"before": before, "after": resident_mb(product)}}


def _at_once(product: Product, service: list[str], body: bytes, kind: str) -> Counter[str]:
    def one(_: int) -> str:
        caller = Caller(product.port, f"/v1/infers/{service[0]}", service[1])
        return str(caller.send(caller.path, body, kind)[0])

    with ThreadPoolExecutor(60) as pool:
        return Counter(pool.map(one, range(60)))


def _beside_slow(product: Product, service: list[str], photo: bytes) -> dict[str, Any]:
    """Twenty connections send a byte a second; others call meanwhile."""
    head = (
        f"POST /v1/infers/{service[0]} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {service[1]}\r\n"
        "Content-Type: multipart/form-data; boundary=e\r\nContent-Length: 100000\r\n\r\n"
    )
    sockets = [socket.create_connection(("127.0.0.1", product.port)) for _ in range(20)]
    for one in sockets:
        one.sendall(head.encode())
    caller = Caller(product.port, f"/v1/infers/{service[0]}", service[1])
    times = timed(lambda: caller.call(photo), 50)
    began, answers = time.monotonic(), Counter[str]()
    while time.monotonic() - began < 75 and sum(answers.values()) < len(sockets):
        for one in sockets:
            one.settimeout(0.01)
            try:
                one.sendall(b"x")
                if received := one.recv(200):
                    answers[received.split(b" ", 2)[1].decode()] += 1
            except TimeoutError:
                continue
            except OSError:
                continue
        time.sleep(1)
    for one in sockets:
        one.close()
    return {**percentiles(times), "their_statuses": dict(answers)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--other", type=Path, help="another bundle, for the storm (default: the same)")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--peers", action="store_true")
    asked = parser.parse_args()
    photo, found = asked.photo.read_bytes(), dict[str, Any]()
    other = asked.other or asked.bundle
    models = {"V001": Bundle.load(asked.bundle, os.cpu_count()), "V002": Bundle.load(other, os.cpu_count())}
    bare = timed(lambda: models["V001"].answer(photo), SINGLE_CALLS)
    bare_best = bare_throughput(asked.bundle, photo, asked.seconds)
    with tempfile.TemporaryDirectory() as folder, Product(Path(folder) / "data") as product:
        command = [sys.executable, "-c", PREPARE, str(asked.bundle), str(other)]
        done = subprocess.run(
            command, env=product.environment, capture_output=True, text=True, check=True
        ).stdout
        services = json.loads(done.splitlines()[-1])
        time.sleep(SETTLE_S)
        caller = Caller(product.port, f"/v1/infers/{services[0][0]}", services[0][1])
        calls = timed(lambda: caller.call(photo), SINGLE_CALLS)
        single = {"http": percentiles(calls), "bare": percentiles(bare)}
        ratio = {key: round(single["http"][key] / single["bare"][key], 2) for key in ("p50", "p95")}
        found["single"] = {**single, "ratio": ratio}
        make = lambda: Caller(product.port, caller.path, caller.token)  # noqa: E731
        loads = {clients: load(make, photo, clients, asked.seconds) for clients in CLIENTS}
        best = max(bare_best.values())
        shares = {clients: round(one["per_second"] / best, 2) for clients, one in loads.items()}
        found["throughput"] = {"bare": bare_best, "clients": loads, "share_of_bare": shares}
        print(json.dumps(found), file=sys.stderr, flush=True)
        found["hostile"] = hostile(product, services[0], photo)
        answers = {}
        for name, model in models.items():
            scores = model.answer(photo).scores
            answers[name] = (model.labels[int(scores.argmax())], float(scores.max()))
        found["storm"] = storm(product, services, answers, photo, asked.calls)
    if asked.peers:
        from benchmarks.peers.serving_peers import measure

        found["peers"] = measure(asked.bundle, photo, SINGLE_CALLS, CLIENTS, asked.seconds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
