"""Middleware: `/healthz` and `/readyz`, for load balancers and supervisors.

It comes before everything else: these programs call a machine by its address, without https and without a
session, and an answer must not depend on a part that it is asked about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed, JsonResponse

from exeml_site.health.readiness import readiness

ALIVE, READY = "/healthz", "/readyz"


class HealthMiddleware:
    """`/healthz`: this process answers; nothing more is asked. `/readyz`: 503 if others should be called."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        address = request.path_info.rstrip("/")
        if address not in (ALIVE, READY):
            return self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if address == ALIVE:
            return _answer({"alive": True})
        state = readiness()
        return _answer(state, 200 if state["ready"] else 503)


def _answer(content: dict[str, Any], status: int = 200) -> JsonResponse:
    answer = JsonResponse(content, status=status, headers={"Cache-Control": "no-store"})
    if status == 503:
        answer["Retry-After"] = "5"
        answer._has_been_logged = True  # type: ignore[attr-defined]  # once for an outage (readiness), not for each call
    return answer
