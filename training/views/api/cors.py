"""Calls from web pages: which sites' pages may read the answers of a service (CORS)."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from training.models import Service
from training.serving.calls.memory import call_memory

PREFLIGHT_S = 600  # for which a browser remembers the answer to its question


def is_preflight(request: HttpRequest) -> bool:
    """Whether a browser asks if a page may call, before the call itself."""
    return (
        request.method == "OPTIONS"
        and "Origin" in request.headers
        and "Access-Control-Request-Method" in request.headers
    )


def is_allowed(request: HttpRequest, service_id: UUID | None) -> bool:
    """Whether pages of the request's origin may call the service."""
    origin = request.headers.get("Origin")
    if not origin or service_id is None:
        return False
    services = Service.objects.alive().filter(pk=service_id)
    known = call_memory.recall(
        ("origins", service_id), lambda: list(services.values_list("allowed_origins", flat=True))
    )
    return any(origin in origins for origins in known)


def allow_origin(request: HttpRequest, response: HttpResponse) -> None:
    """Let the page that called read the response, errors too."""
    response["Access-Control-Allow-Origin"] = request.headers["Origin"]
    response["Access-Control-Expose-Headers"] = "Retry-After"
    if is_preflight(request):
        response["Access-Control-Allow-Methods"] = "POST"
        response["Access-Control-Allow-Headers"] = "X-Auth-Token, Content-Type"
        response["Access-Control-Max-Age"] = str(PREFLIGHT_S)
    patch_vary_headers(response, ["Origin"])
