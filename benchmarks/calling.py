"""Clients that call a server of predictions and time it; used for the product and for its peers."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np


class Caller:
    """One client with a connection that it keeps."""

    def __init__(self, port: int, path: str, token: str) -> None:
        self.port, self.path, self.token = port, path, token
        self.lost = 0
        self._connection: http.client.HTTPConnection | None = None

    def call(self, photo: bytes) -> tuple[int, dict[str, Any]]:
        """Status and answer. A lost connection is counted, and asked again."""
        return self.send(self.path, *self.body_of(photo))

    @staticmethod
    def body_of(photo: bytes) -> tuple[bytes, str]:
        """The body of a call and its content type."""
        edge = "8f3c0c3d"
        head = f'--{edge}\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
        return head.encode() + photo + f"\r\n--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"

    def send(self, path: str, body: bytes, kind: str) -> tuple[int, dict[str, Any]]:
        headers = {"X-Auth-Token": self.token, "Content-Type": kind}
        for _ in range(50):
            try:
                self._connection = self._connection or http.client.HTTPConnection(
                    "127.0.0.1", self.port, timeout=60
                )
                self._connection.request("POST", path, body, headers)
                answer = self._connection.getresponse()
                return answer.status, json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                self.lost += 1
                self._connection = None
                time.sleep(0.05)
        raise ConnectionError("no answer after 50 connections")


def percentiles(ms: list[float]) -> dict[str, float]:
    return {"p50": round(float(np.percentile(ms, 50)), 2), "p95": round(float(np.percentile(ms, 95)), 2)}


def timed(ask: Callable[[], object], calls: int) -> list[float]:
    for _ in range(20):
        ask()
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        ask()
        times.append(1e3 * (time.perf_counter() - began))
    return times


def load(make: Callable[[], Caller], photo: bytes, clients: int, seconds: float) -> dict[str, Any]:
    """Calls a second of so many clients."""
    until, statuses, times, lock = time.monotonic() + seconds, Counter[int](), list[float](), threading.Lock()

    def work() -> None:
        caller = make()
        while time.monotonic() < until:
            began = time.perf_counter()
            status, _ = caller.call(photo)
            with lock:
                times.append(1e3 * (time.perf_counter() - began))
                statuses[status] += 1

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    others = {status: count for status, count in statuses.items() if status != 200}
    return {"per_second": round(statuses[200] / seconds, 1), **percentiles(times), "not_200": others}
