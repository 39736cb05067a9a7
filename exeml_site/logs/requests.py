"""The request that this thread answers, its id, and a line of the access log for each."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from exeml_site.logs.client_address import client_address, is_trusted_proxy

access_log = logging.getLogger("exeml.access")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# Parts of addresses that let somebody in: of links to set a password, of invitations, of /admin/rq/.
SECRET_PARTS = {"token", "key", "uidb36", "uidb64"}

_current: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


def current_request() -> HttpRequest | None:
    """The request that is being answered; None in jobs and commands."""
    return _current.get()


def request_id_of(request: HttpRequest | None) -> str:
    return str(getattr(request, "request_id", ""))


def user_id_of(request: HttpRequest | None) -> int | None:
    """The key of the person, where a view has asked for it: a log line must not read the database."""
    user = getattr(request, "_cached_user", None)
    return user.pk if user is not None else None


class RequestMiddleware:
    """Gives each request an id, also as a header of the answer, and logs it if EXEML_ACCESS_LOG says so."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.monotonic()
        request.request_id = _given_id(request) or uuid4().hex  # type: ignore[attr-defined]
        token = _current.set(request)
        try:
            response = self.get_response(request)
            response.headers["X-Request-ID"] = request_id_of(request)
            if settings.ACCESS_LOG:
                _log_access(request, response.status_code, round(1000 * (time.monotonic() - began)))
        finally:
            _current.reset(token)
        return response


def _given_id(request: HttpRequest) -> str:
    """The id that a trusted proxy gave the request; empty if there is none that can stand in a log line."""
    given = request.headers.get("X-Request-ID", "")
    is_trusted = is_trusted_proxy(str(request.META.get("REMOTE_ADDR", "")))
    return given if is_trusted and REQUEST_ID.fullmatch(given) else ""


def _log_access(request: HttpRequest, status: int, ms: int) -> None:
    fields = {
        "method": request.method,
        "path": shown_path(request),
        "status": status,
        "ms": ms,
        "address": client_address(request),
    }
    access_log.info("%(method)s %(path)s %(status)d %(ms)d ms", fields, extra={"fields": fields})


def shown_path(request: HttpRequest) -> str:
    """The path without its query, which may hold what was searched for, and without the secrets in it."""
    path, match = request.path, request.resolver_match
    for name in SECRET_PARTS & set(match.kwargs if match else {}):
        path = path.replace(str(match.kwargs[name]), "…") if match else path
    return path
