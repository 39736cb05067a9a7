"""How a view answers: one helper for whole pages and htmx fragments, one type for the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from projects.models import Membership


class SeeOther(HttpResponseRedirect):
    """After a POST: look there with GET."""

    status_code = 303


class PageRequest(HttpRequest):
    """A request that passed an access mark: signed in, and with the membership that opened the door."""

    user: User
    htmx: HtmxDetails
    membership: Membership


def wants_fragment(request: HttpRequest) -> bool:
    """True for htmx's own swaps; false for whole pages, boosted links and the browser's Back."""
    htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def page(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    fragment: str | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render `template`, or `fragment` when htmx asked for a part of the page.

    Answers differ by `HX-Request`, so caches are told; 409, 413 and 422 are swapped by htmx (base.html).
    """
    chosen = fragment if fragment and wants_fragment(request) else template
    response = render(request, chosen, dict(context or {}), status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def go(request: HttpRequest, url: str) -> HttpResponse:
    """Send the browser to `url`, whether htmx or the browser asked."""
    if wants_fragment(request):
        return HttpResponseClientRedirect(url)
    return SeeOther(url)
