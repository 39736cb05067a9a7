"""The address of a client, as far as EXEML_TRUSTED_PROXIES say so."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The client's address: REMOTE_ADDR, or what the outermost of EXEML_TRUSTED_PROXIES says."""
    address = str(request.META.get("REMOTE_ADDR", ""))
    for hop in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
        if not is_trusted_proxy(address) or not (sender := parsed_address(hop)):
            break
        address = sender
    return address


def is_trusted_proxy(address: str) -> bool:
    parsed = parsed_address(address)
    return bool(parsed) and any(ip_address(parsed) in proxies for proxies in settings.EXEML_TRUSTED_PROXIES)


def parsed_address(text: str) -> str:
    """An IP address without port and brackets; empty if it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
