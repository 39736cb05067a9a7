"""Middleware: what somebody signed in has seen stays in no cache."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase


class PrivatePagesMiddleware:
    """Sends `no-store` with every answer to a session, unless its view says how long it may be kept.

    Views say so for pictures only, `private` and under an address that changes with the content.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        has_session = settings.SESSION_COOKIE_NAME in request.COOKIES
        if has_session and "max-age" not in response.get("Cache-Control", ""):
            response["Cache-Control"] = "private, no-store"
        return response
