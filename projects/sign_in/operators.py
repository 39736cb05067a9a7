"""Operators' pages behind a second factor (EXEML_OPERATORS_SECOND_FACTOR)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from projects.access import has_proven_factor, lead_to_factor


class OperatorsSecondFactorMiddleware:
    """Leads somebody signed in from each page below /admin/ to their factor. Installed only if asked for.

    Programs that read the queues with a token have no session and pass.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponseBase | None:
        if not request.path.startswith(reverse("admin:index")) or not request.user.is_authenticated:
            return None
        return None if has_proven_factor(request) else lead_to_factor(request)
