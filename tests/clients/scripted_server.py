"""A real HTTP server whose answers a test writes down before."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


@dataclass(frozen=True)
class Scripted:
    """An answer. `breaks`: the connection ends without one, after the request was read.

    `waits_for`: it comes after this event.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks: bool = False
    waits_for: threading.Event | None = None


class ScriptedServer:
    """Gives the answers in their order, the last one again and again; `received` has what came."""

    def __init__(self, *answers: Scripted) -> None:
        self.answers, self.received = list(answers), list[Received]()
        self.lock = threading.Lock()
        self.url = ""

    def next_answer(self, request: Received) -> Scripted:
        with self.lock:
            self.received.append(request)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def scripted(*answers: Scripted) -> Iterator[ScriptedServer]:
    server = ScriptedServer(*answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.command, self.path, headers, body, time.monotonic())
            answer = server.next_answer(request)
            if answer.waits_for:
                answer.waits_for.wait()
            if answer.breaks:
                self.close_connection = True
                self.connection.close()
                return
            is_text = isinstance(answer.body, str)
            content = answer.body.encode() if is_text else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any

        def log_message(self, format: str, *arguments: Any) -> None:
            """Tests read `received`."""

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{web.server_address[1]}"
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        web.shutdown()
        web.server_close()
        thread.join()
