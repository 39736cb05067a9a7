"""A small server with the API of a service: POST /v1/infers/<anything>, part `images`.

    TOKEN=secret python server.py      PORT (8080), MAX_IMAGE_MB (20), TOKEN (empty: no token needed)

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

from model import InvalidImage, Model
from picture_formats import FORMAT_NAMES

TOKEN = os.environ.get("TOKEN", "")
MAX_IMAGE_MB = int(os.environ.get("MAX_IMAGE_MB") or 20)
MAX_IMAGES, MAX_FULL_SIZE_IMAGES, MAX_CALLS = 32, 4, 64
BODY_TIMEOUT_S = 60
CURL = "curl -F images=@photo.jpg -H 'X-Auth-Token: …' http://host:8080/v1/infers/model"
BOUNDARY = re.compile(r'boundary="?([^";]+)"?')


class RequestError(Exception):
    """A request that gets an error as JSON with an HTTP status."""

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint


class Handler(BaseHTTPRequestHandler):
    """One call. All calls share `model`, `predicting` and `calls`."""

    protocol_version, server_version, timeout = "HTTP/1.1", "exeml", BODY_TIMEOUT_S
    model: Model
    predicting = threading.BoundedSemaphore(os.cpu_count() or 1)
    calls = threading.BoundedSemaphore(MAX_CALLS)

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(200, {"status": "Running", "version": self.model.about["version"]})
        else:
            self._send(404, _error("NOT_FOUND", "There is nothing here.", "POST to /v1/infers/model."))

    def do_POST(self) -> None:
        if not self.calls.acquire(blocking=False):
            body = _error("TOO_MANY_CALLS", "Too many calls at once.", "Call again in a second.")
            self._send(429, body, {"Retry-After": "1", "Connection": "close"})
            return
        try:
            self._send(200, self._answer())
        except RequestError as error:
            self.close_connection = True  # its body may not have been read
            self._send(error.status, _error(error.code, error.message, error.hint))
        finally:
            self.calls.release()

    def _answer(self) -> dict[str, Any]:
        if not self.path.startswith("/v1/infers/"):
            raise RequestError(
                404, "SERVICE_NOT_FOUND", "There is no service here.", "POST to /v1/infers/model."
            )
        if TOKEN and not hmac.compare_digest(self.headers.get("X-Auth-Token", "").encode(), TOKEN.encode()):
            raise RequestError(
                401, "TOKEN_WRONG", "This is not the token of this server.", "Send X-Auth-Token."
            )
        answers = []
        images = self._images()
        for number, image in enumerate(images, 1):
            try:
                with self.predicting:
                    answers.append({**self.model.predict(image), "request_id": str(uuid4())})
            except InvalidImage as problem:
                which = f"Picture {number} of {len(images)}: " if len(images) > 1 else ""
                raise RequestError(
                    400, "IMAGE_UNREADABLE", f"{which}{problem}", f"Send {FORMAT_NAMES}."
                ) from problem
        if len(answers) == 1:
            return answers[0]
        return {"results": answers, "version": self.model.about["version"], "request_id": str(uuid4())}

    def _images(self) -> list[bytes]:
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            raise RequestError(415, "NOT_MULTIPART", "The body must be multipart/form-data.", CURL)
        length, max_bytes = self._length(), MAX_IMAGE_MB * 1024 * 1024
        if length > MAX_FULL_SIZE_IMAGES * max_bytes:
            self._discard(length)
            raise RequestError(
                413, "IMAGE_TOO_LARGE", "The call is too large.", "Send fewer or smaller pictures."
            )
        try:
            body = self.rfile.read(length)
        except OSError as problem:
            raise RequestError(
                408, "BODY_TOO_SLOW", "The body did not come in time.", "Send less."
            ) from problem
        images = list(image_parts(body, kind))
        if not images:
            raise RequestError(400, "IMAGE_MISSING", "The body has no file part “images”.", CURL)
        if len(images) > MAX_IMAGES:
            raise RequestError(
                400, "TOO_MANY_IMAGES", f"The call has {len(images)} pictures.", "Send at most 32."
            )
        if any(len(image) > max_bytes for image in images):
            raise RequestError(
                413, "IMAGE_TOO_LARGE", f"A picture is over {MAX_IMAGE_MB} MB.", "Make it smaller."
            )
        return images

    def _length(self) -> int:
        """Bytes of the body. Bodies in chunks are not read: they have no length before their end."""
        text = self.headers.get("Content-Length", "")
        if text.isascii() and text.isdigit() and len(text) < 19:
            return int(text)
        raise RequestError(
            411, "LENGTH_REQUIRED", "The body has no valid length.", "Send the header Content-Length."
        )

    def _discard(self, length: int) -> None:
        """Read and drop the body, up to a limit: clients read an answer only after they have sent all."""
        left = min(length, 4 * MAX_FULL_SIZE_IMAGES * MAX_IMAGE_MB * 1024 * 1024)
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
        """Log nothing: callers already know the result of each call."""


def image_parts(body: bytes, kind: str) -> Iterator[bytes]:
    """The contents of the parts `images` of a multipart body (RFC 7578)."""
    boundary = BOUNDARY.search(kind)
    if boundary is None:
        return
    separator = b"--" + boundary[1].encode("latin-1")
    for part in body.split(separator)[1:]:
        head, blank_line, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if blank_line and re.search(rb'(?i)content-disposition:[^\r]*[; ]name="?images"?', head):
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
