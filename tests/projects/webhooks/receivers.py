"""A real receiver on 127.0.0.1, and names that lead where a test wants."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from exeml_site.sign_in.secret_text import encrypt
from projects.models import Project, Webhook, WebhookDelivery, WebhookEvent
from projects.webhooks.signature import new_secret
from tests.factories import make_project, make_user

EVENTS = [event for event in WebhookEvent.values if event != WebhookEvent.TEST]
Answer = Callable[[BaseHTTPRequestHandler], None]


def accept(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, 200, b"thank you")


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


class Receiver:
    """What came in, in order; `answer` says what goes out."""

    def __init__(self) -> None:
        self.answer: Answer = accept
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), body))
                with contextlib.suppress(OSError):
                    receiver.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"

    @property
    def payloads(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.requests]


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


def names(monkeypatch: Any, **addresses: list[str]) -> list[str]:
    """Let names resolve so; an underscore stands for a dot. Each look-up takes the next answer of a list.

    Returns the names that were looked up. Other names and numbers resolve as ever.
    """
    real, asked = socket.getaddrinfo, []
    known = {name.replace("_", "."): list(found) for name, found in addresses.items()}

    def look_up(host: str, port: int, *args: Any, **options: Any) -> Any:
        asked.append(host)
        if host not in known:
            return real(host, port, *args, **options)
        found = known[host].pop(0) if len(known[host]) > 1 else known[host][0]
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in found.split()
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def make_webhook(
    url: str, project: Project | None = None, *, is_of_team: bool = False, events: list[str] = EVENTS
) -> tuple[Webhook, str]:
    """A webhook of Alice's team, whose address was not checked, and its secret."""
    project = project or make_project(images=0)
    secret = new_secret()
    webhook = Webhook.objects.create(
        team=project.team,
        project=None if is_of_team else project,
        url=url,
        events=events,
        secret=encrypt(secret),
        site="https://exeml.example.org",
        created_by=make_user("alice"),
    )
    return webhook, secret


def pass_time(**delta: float) -> None:
    """Move the times of what waits back, as if the time had passed."""
    for row in WebhookDelivery.objects.exclude(next_attempt_at=None):
        WebhookDelivery.objects.filter(pk=row.pk).update(
            next_attempt_at=row.next_attempt_at - timedelta(**delta)
        )
    for webhook in Webhook.objects.exclude(failing_since=None):
        Webhook.objects.filter(pk=webhook.pk).update(failing_since=webhook.failing_since - timedelta(**delta))
