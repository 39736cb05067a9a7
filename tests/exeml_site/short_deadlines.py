"""The web server with short deadlines, and an application, for test_web_worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from exeml_site import web_worker

web_worker.HEAD_TIMEOUT_S, web_worker.WINDOW_S = 2.0, 3.0
BIG = 8 << 20

BufferingWorker = web_worker.BufferingWorker


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes] | list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    path = environ["PATH_INFO"]
    if path == "/big":
        return [b"x" * BIG]
    if path == "/work":
        time.sleep(4)
    return [f"{len(environ['wsgi.input'].read())} {environ.get('CONTENT_LENGTH')}".encode()]
