"""A small server with the API of the service: POST /v1/infers/<anything>, part `images`.

    TOKEN=secret python server.py      PORT (8080), MAX_IMAGE_MB (20) and TOKEN (none: none is asked for)

Ends with Ctrl-C or SIGTERM. GET /health answers 200 as soon as the model is loaded.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from model import Model, Unreadable

TOKEN = os.environ.get("TOKEN", "")
LIMIT_MB = int(os.environ.get("MAX_IMAGE_MB") or 20)
MOST_IMAGES, MOST_CALL_IMAGES, MOST_CALLS = 32, 4, 64
BODY_S = 60
CURL = "curl -F images=@photo.jpg -H 'X-Auth-Token: …' http://host:8080/v1/infers/model"
BOUNDARY = re.compile(r'boundary="?([^";]+)"?')


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint


class Handler(BaseHTTPRequestHandler):
    """One call. `model`, `at_work` and `inside` belong to all of them."""

    protocol_version, server_version, timeout = "HTTP/1.1", "exeml", BODY_S
    model: Model
    at_work = threading.BoundedSemaphore(os.cpu_count() or 1)
    inside = threading.BoundedSemaphore(MOST_CALLS)

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(200, {"status": "Running", "version": self.model.about["version"]})
        else:
            self._send(404, _error("NOT_FOUND", "There is nothing here.", "POST to /v1/infers/model."))

    def do_POST(self) -> None:
        if not self.inside.acquire(blocking=False):
            body = _error("TOO_MANY_CALLS", "Too many calls at once.", "Call again in a second.")
            self._send(429, body, {"Retry-After": "1", "Connection": "close"})
            return
        try:
            self._send(200, self._answer())
        except Refusal as refusal:
            self.close_connection = True  # its body may not have been read
            self._send(refusal.status, _error(refusal.code, refusal.message, refusal.hint))
        finally:
            self.inside.release()

    def _answer(self) -> dict[str, Any]:
        if not self.path.startswith("/v1/infers/"):
            raise Refusal(404, "SERVICE_NOT_FOUND", "There is no service here.", "POST to /v1/infers/model.")
        if TOKEN and not hmac.compare_digest(self.headers.get("X-Auth-Token", "").encode(), TOKEN.encode()):
            raise Refusal(401, "TOKEN_WRONG", "This is not the token of this server.", "Send X-Auth-Token.")
        answers = []
        pictures = self._pictures()
        for number, picture in enumerate(pictures, 1):
            try:
                with self.at_work:
                    answers.append({**self.model.predict(picture), "request_id": str(uuid4())})
            except Unreadable as problem:
                which = f"Picture {number} of {len(pictures)}: " if len(pictures) > 1 else ""
                raise Refusal(
                    400, "IMAGE_UNREADABLE", f"{which}{problem}", "Send JPG, PNG, BMP or WebP."
                ) from problem
        if len(answers) == 1:
            return answers[0]
        return {"results": answers, "version": self.model.about["version"], "request_id": str(uuid4())}

    def _pictures(self) -> list[bytes]:
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            raise Refusal(415, "NOT_MULTIPART", "The body must be multipart/form-data.", CURL)
        length, most = int(self.headers.get("Content-Length") or 0), LIMIT_MB * 1024 * 1024
        if length > MOST_CALL_IMAGES * most:
            self._discard(length)
            raise Refusal(413, "IMAGE_TOO_LARGE", "The call is too large.", "Send fewer or smaller pictures.")
        try:
            body = self.rfile.read(length)
        except OSError as problem:
            raise Refusal(408, "BODY_TOO_SLOW", "The body did not come in time.", "Send less.") from problem
        found = list(parts_of(body, kind))
        if not found:
            raise Refusal(400, "IMAGE_MISSING", "The body has no file part “images”.", CURL)
        if len(found) > MOST_IMAGES:
            raise Refusal(400, "TOO_MANY_IMAGES", f"The call has {len(found)} pictures.", "Send at most 32.")
        if any(len(one) > most for one in found):
            raise Refusal(413, "IMAGE_TOO_LARGE", f"A picture is over {LIMIT_MB} MB.", "Make it smaller.")
        return found

    def _discard(self, length: int) -> None:
        """Clients read an answer only after sending; a body without end is cut off."""
        left = min(length, 4 * MOST_CALL_IMAGES * LIMIT_MB * 1024 * 1024)
        try:
            while left > 0 and (piece := self.rfile.read(min(left, 65536))):
                left -= len(piece)
        except OSError:
            return

    def _send(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: a log line for each call says nothing that callers do not know."""


def parts_of(body: bytes, kind: str) -> Iterator[bytes]:
    """The contents of the parts “images” of a multipart body (RFC 7578)."""
    boundary = BOUNDARY.search(kind)
    if boundary is None:
        return
    line = b"--" + boundary[1].encode("latin-1")
    for part in body.split(line)[1:]:
        head, gap, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if gap and re.search(rb'(?i)content-disposition:[^\r]*[; ]name="?images"?', head):
            yield content.removesuffix(b"\r\n")


class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 256


def _error(code: str, message: str, hint: str) -> dict[str, str]:
    return {"error_code": code, "error_msg": message, "hint": hint}


def main() -> None:
    Handler.model = Model()
    server = Server(("", int(os.environ.get("PORT") or 8080)), Handler)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"Listening on port {server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
