"""Middleware: a 503 page while Redis does not answer."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


class RedisUnavailableMiddleware:
    """Answers 503 with cause and remedy when a view raises RedisError.

    That happens on the operators' queue pages only: actions are stored in the database and catch the error.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, problem: Exception) -> HttpResponse | None:
        if not isinstance(problem, RedisError):
            return None
        logger.error("%s: Redis does not answer", request.path, exc_info=problem)
        return render(request, "503.html", status=503)
