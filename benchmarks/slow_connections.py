"""Pages beside slow connections: p95 of the sign-in page while clients hold the server up.

    python -m benchmarks.slow_connections [--connections 1000] [--servers product gthread gevent granian]

Each attack opens so many connections and keeps them open: `heads` send a byte of a request's head a second,
`bodies` a byte of a body a second, `readers` ask for files and read 100 bytes a second. The product runs as
`manage.py up`; other servers run its application over the same data, two processes each. gevent and granian
have to be installed first.

On two cores, load 6 to 16, p50 and p95 in ms of pages without and with 1,000 connections (none: no page came
within ten seconds):

    server                  alone      heads       bodies         readers
    product (waitress)     7 / 18     14 / 33     16 / 45         9 / 23
    product, load 13      10 / 32     16 / 41     14 / 43        28 / 138
    gunicorn, gthread      3 / 5      none        none            4 / 12
    gunicorn, gevent       8 / 21      3 / 30     110 / 3,218     4,444, then none
    granian, WSGI          4 / 9       5 / 14 *    3 / 17         3,583, then none

    * 58 pages, then none
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.calling import percentiles
from tests.supervisor_process import ROOT, Product, free_port

PAGE = "/sign-in/"
PATIENCE_S = 10.0  # after which a person has left
WARM_UP_S = 5.0  # of an attack, before pages are measured
HEAD = b"GET /sign-in/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
BODY = (
    b"POST /sign-in/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 100000\r\n\r\n"
)
WHOLE = b"GET /static/js/label_data.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20
APPLICATION = "exeml_site.wsgi:application"
GUNICORN = (sys.executable, "-m", "gunicorn", APPLICATION, "--workers", "2", "--no-control-socket")
SERVERS = {
    "gthread": (*GUNICORN, "--worker-class", "gthread", "--threads", "80", "--bind", "127.0.0.1:{port}"),
    "gevent": (*GUNICORN, "--worker-class", "gevent", "--bind", "127.0.0.1:{port}"),
    "granian": (
        *(sys.executable, "-m", "granian", APPLICATION, "--interface", "wsgi", "--port", "{port}"),
        *("--workers", "2", "--blocking-threads", "80", "--http1-header-read-timeout", "15000"),
    ),
}


async def _drip(port: int, first: bytes) -> None:
    """Send `first`, then a byte a second; again when the server closes the connection."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first)
            try:
                while not reader.at_eof():
                    writer.write(b"a")
                    await writer.drain()
                    await asyncio.sleep(1)
            finally:
                writer.close()
        await asyncio.sleep(0.1)


async def _read_slowly(port: int) -> None:
    """Ask for megabytes and read 100 bytes a second, through a small window; again when closed."""
    loop = asyncio.get_running_loop()
    while True:
        with contextlib.suppress(OSError), socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, WHOLE)
            while await loop.sock_recv(client, 100):
                await asyncio.sleep(1)
        await asyncio.sleep(0.1)


def _attack(kind: str, port: int, connections: int) -> None:
    async def all_at_once() -> None:
        attackers = {
            "heads": lambda: _drip(port, HEAD),
            "bodies": lambda: _drip(port, BODY),
            "readers": lambda: _read_slowly(port),
        }
        await asyncio.gather(*(attackers[kind]() for _ in range(connections)))

    asyncio.run(all_at_once())


@contextlib.contextmanager
def attack(kind: str, port: int, connections: int) -> Iterator[None]:
    """An attack by a process of its own, while the block runs."""
    process = multiprocessing.get_context("spawn").Process(target=_attack, args=(kind, port, connections))
    process.start()
    try:
        time.sleep(WARM_UP_S)
        yield
    finally:
        process.kill()
        process.join()


def page_times(port: int, seconds: float) -> dict[str, Any]:
    """Times of pages, each on a connection of its own; `lost` had no answer within PATIENCE_S."""
    times, lost, end = list[float](), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
            connection.request("GET", PAGE)
            answer = connection.getresponse()
            answer.read()
            connection.close()
            times.append(1e3 * (time.perf_counter() - began))
        except (OSError, http.client.HTTPException):
            lost += 1
    return {
        **(percentiles(times) if times else {"p50": None, "p95": None}),
        "pages": len(times),
        "lost": lost,
    }


@contextlib.contextmanager
def serving(product: Product, command: tuple[str, ...]) -> Iterator[int]:
    """Another server over the product's data; the port on which it answers."""
    port = free_port()
    address = product.folder / "redis" / "redis.sock"
    environment = {
        **product.environment,
        "REDIS_URL": f"unix://{address}?db=0",
        "DJANGO_SETTINGS_MODULE": "exeml_site.settings",
    }
    words = [word.format(port=port) for word in command]
    with Path(tempfile.gettempdir(), "slow-connections.log").open("wb") as log:
        server = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(port)
        yield port
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", PAGE)
            connection.getresponse().read()
            return
        time.sleep(0.2)
    raise TimeoutError("the server does not answer")


def measure(port: int, connections: int, seconds: float) -> dict[str, Any]:
    page_times(port, 1)
    found = {"alone": page_times(port, seconds)}
    for kind in ("heads", "bodies", "readers"):
        with attack(kind, port, connections):
            found[f"{connections} {kind}"] = page_times(port, seconds)
        time.sleep(1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--servers", nargs="*", default=["product", "gthread"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Product(Path(folder) / "data") as product:
        for name in options.servers:
            if name == "product":
                found = measure(product.port, options.connections, options.seconds)
            else:
                with serving(product, SERVERS[name]) as port:
                    found = measure(port, options.connections, options.seconds)
            print(json.dumps({name: found, "load": os.getloadavg()[0]}), flush=True)


if __name__ == "__main__":
    main()
