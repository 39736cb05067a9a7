"""Middleware: host names at which the site answers.

A web page elsewhere can let its own name point at this machine and then read what the browser gets from it
(DNS rebinding). Such a request names the page's host; it cannot name an address or this machine.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from functools import cache
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host

from exeml_site.bad_requests import refuse

UNKNOWN_HOST = "The site does not answer at the name “{}”. An operator can add it to EXEML_ALLOWED_HOSTS."


class HostMiddleware:
    """Refuses other hosts with a page that names the setting; the log does not hear of them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        host = request.META.get("HTTP_HOST", request.META.get("SERVER_NAME", ""))
        if is_answered(host):
            return self.get_response(request)
        return refuse(request, UNKNOWN_HOST.format(host[:100]))


def is_answered(host: str) -> bool:
    """Whether a Host header names this site: as the settings do, else an address or this machine."""
    domain, _ = split_domain_port(host)
    if not domain:
        return False
    origins = [urlsplit(origin).hostname or "" for origin in settings.CSRF_TRUSTED_ORIGINS]
    named = [name for name in [*settings.ALLOWED_HOSTS, *origins] if name and name != "*"]
    if settings.ANY_HOST or validate_host(domain, named):
        return True
    return settings.LOCAL_HOSTS and _is_local(domain)


def _is_local(domain: str) -> bool:
    try:
        ipaddress.ip_address(domain.strip("[]"))
    except ValueError:
        return domain.endswith(".localhost") or domain in _machine_names()
    return True


@cache
def _machine_names() -> set[str]:
    name = socket.gethostname().lower()
    return {"localhost", name, f"{name.partition('.')[0]}.local"}
