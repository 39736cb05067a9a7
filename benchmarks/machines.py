"""A load balancer before several web machines, and the clients of benchmarks."""

from __future__ import annotations

import http.client
import io
import itertools
import select
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image

CHECK_INTERVAL_S, CHECK_TIMEOUT_S = 1.0, 5.0
OF_A_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}  # not handed on


class LoadBalancer(ThreadingHTTPServer):
    """Hands requests to the machines in turn, as Caddy with the example of deploy/ does.

    A machine whose `/readyz` says 5xx (it drains) or nothing gets none while another one is ready. A request
    goes to the next machine only where the connection is refused: what was sent once is not sent again.
    Without `has_checks` it asks no machine whether it is ready, as nginx.
    """

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, ports: list[int], has_checks: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ready = dict.fromkeys(ports, not has_checks)
        self.port = int(self.server_address[1])
        self._turns = itertools.count()
        self._is_over = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()
        if has_checks:
            for port in ports:
                threading.Thread(target=self._check, args=(port,), daemon=True).start()

    def end(self) -> None:
        self._is_over.set()
        self.shutdown()
        self.server_close()

    def in_turn(self) -> list[int]:
        """All machines, those that are ready first, beginning with another one at every call."""
        ports = list(self.ready)
        start = next(self._turns) % len(ports)
        ports = ports[start:] + ports[:start]
        return sorted(ports, key=lambda port: not self.ready[port])

    def _check(self, port: int) -> None:
        while not self._is_over.wait(CHECK_INTERVAL_S):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CHECK_TIMEOUT_S)
            try:
                connection.request("GET", "/readyz", headers={"Host": "localhost"})
                self.ready[port] = connection.getresponse().status < 500
            except (OSError, http.client.HTTPException):
                self.ready[port] = False
            finally:
                connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LoadBalancer

    def setup(self) -> None:
        super().setup()
        self.kept: dict[int, http.client.HTTPConnection] = {}

    def finish(self) -> None:
        for connection in self.kept.values():
            connection.close()
        with suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_A_CONNECTION}
        for port in self.server.in_turn():
            try:
                connection = self._connection(port)
            except OSError:
                continue
            try:
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                self._hand_on(answer, answer.read())
            except (OSError, http.client.HTTPException) as problem:
                connection.close()
                self.kept.pop(port, None)
                self._refuse(f"{type(problem).__name__}: {problem}")
            return
        self._refuse("no machine takes connections")

    do_POST = do_GET

    def _connection(self, port: int) -> http.client.HTTPConnection:
        """A kept connection that the machine has not ended, or a new one."""
        kept = self.kept.pop(port, None)
        if kept is None or kept.sock is None or select.select([kept.sock], [], [], 0)[0]:
            kept = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            kept.connect()
        self.kept[port] = kept
        return kept

    def _hand_on(self, answer: http.client.HTTPResponse, content: bytes) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in OF_A_CONNECTION:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, reason: str) -> None:
        with suppress(OSError):
            self.send_response_only(502, "Bad Gateway")
            self.send_header("Content-Length", str(len(reason.encode())))
            self.end_headers()
            self.wfile.write(reason.encode())

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Times:
    """Milliseconds of every request by kind, and what failed."""

    ms: dict[str, list[float]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, ms: float, problem: str) -> None:
        with self.lock:
            self.ms.setdefault(kind, []).append(ms)
            if problem:
                self.failures[kind] += 1
                self.examples.append(f"{kind}: {problem}")

    def show(self) -> None:
        print(f"{'':<24}{'requests':>9}{'failed':>8}{'p50 ms':>8}{'p95 ms':>8}{'slowest':>9}")
        for kind, ms in sorted(self.ms.items()):
            p50, p95 = np.percentile(ms, [50, 95])
            print(f"{kind:<24}{len(ms):>9}{self.failures[kind]:>8}{p50:>8.0f}{p95:>8.0f}{max(ms):>9.0f}")
        for example in self.examples[:10]:
            print("   ", example[:200])


class Browser:
    """A client with a connection that it keeps; `session` is the cookie of somebody signed in."""

    def __init__(self, port: int, times: Times, session: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._times = times
        token = "x" * 32
        cookie = f"sessionid={session}; csrftoken={token}"
        self._headers = {"Cookie": cookie, "X-CSRFToken": token} if session else {}

    def get(self, kind: str, path: str) -> None:
        self.send(kind, path, None, self._headers)

    def post(self, kind: str, path: str, form: dict[str, str]) -> None:
        body = urlencode(form).encode(), "application/x-www-form-urlencoded"
        self.send(kind, path, body, {**self._headers, "HX-Request": "true"})

    def send(self, kind: str, path: str, body: tuple[bytes, str] | None, headers: dict[str, str]) -> None:
        """Send it once and note how long the answer took. Any status but 200 is a failure."""
        content, content_type = body or (None, "")
        typed = {**headers, "Content-Type": content_type} if body else headers
        began, problem = time.monotonic(), ""
        try:
            self._connection.request("POST" if body else "GET", path, content, typed)
            answer = self._connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                problem = f"{path}: {answer.status}: {text[:150].decode(errors='replace')}"
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            problem = f"{path}: {type(error).__name__}: {error}"
        self._times.note(kind, 1000 * (time.monotonic() - began), problem)


def upload_body(name: str, content: bytes) -> tuple[bytes, str]:
    """A form with one file, and its content type."""
    edge = "8f3c0c3d"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"; filename="a.png"\r\n\r\n'
    return head.encode() + content + f"\r\n--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"


def red_picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (320, 240), "red").save(out, "PNG")
    return out.getvalue()


def wait_until(is_so: Any, seconds: float) -> float:
    """Seconds until it is so. Raises TimeoutError."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > seconds:
            raise TimeoutError
        time.sleep(0.1)
    return time.monotonic() - began
