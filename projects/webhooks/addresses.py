"""Which addresses webhooks may call: none of this machine and of its networks, unless an operator allowed it.

A name is resolved once, every address that it has is checked, and the connection is made to a checked one:
a name whose answer changes afterwards leads nowhere else.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext

from exeml_site.lib.errors import Refused

IpAddress = IPv4Address | IPv6Address
WEB_PORTS = (80, 443)
FIRST_FREE_PORT = 1024  # lower ones, but those of the web, are of mail, shells and files
MAX_LENGTH = 1000
NAT64 = ip_network("64:ff9b::/96")
# What Python counts as public, but clouds use for services of the machine itself, and former private ranges.
NOT_PUBLIC = [ip_network(text) for text in ("168.63.129.16", "192.0.0.0/24", "64:ff9b:1::/48", "fec0::/10")]


class AddressRefused(Refused):
    """Webhooks may not call this address; the text is a sentence for people."""


@dataclass(frozen=True)
class Target:
    """Where a URL leads: its parts, and the addresses that were checked."""

    is_encrypted: bool
    host: str
    port: int
    path: str
    addresses: tuple[IpAddress, ...]

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_usual = self.port == (443 if self.is_encrypted else 80)
        return host if is_usual else f"{host}:{self.port}"


def find_target(url: str) -> Target:
    """Resolve the host of a URL. Raises AddressRefused unless all its addresses may be called."""
    is_encrypted, host, port, path = _parts(url)
    is_allowed = _is_allowed_host(host)
    if port < FIRST_FREE_PORT and port not in WEB_PORTS and not is_allowed:
        text = gettext("Port %(port)s is not possible. Use 80, 443, or one from 1024.")
        raise AddressRefused(text % {"port": port})
    addresses = _resolve(host, port)
    for address in addresses:
        if not (is_allowed or may_call(address)):
            text = gettext(
                "%(host)s leads to %(address)s, an address inside a private network or of this machine. An "
                "operator can allow it with EXEML_WEBHOOK_ALLOW."
            )
            raise AddressRefused(text % {"host": host, "address": address})
    return Target(is_encrypted, host, port, path, addresses)


def _parts(url: str) -> tuple[bool, str, int, str]:
    """Whether the URL is of https, and its host, port and path. Raises AddressRefused."""
    if len(url) > MAX_LENGTH or not re.fullmatch(r"[\x21-\x7e]+", url):
        text = gettext("A URL has at most %(limit)s characters, without spaces and letters beyond a–z.")
        raise AddressRefused(text % {"limit": MAX_LENGTH})
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    else:
        if parts.scheme not in ("http", "https"):
            raise AddressRefused(gettext("A URL begins with https:// or http://."))
        if parts.username is not None or parts.password is not None:
            raise AddressRefused(
                gettext("A URL has no username and no password. Check the signature instead.")
            )
    if not host or port == 0 or not re.fullmatch(r"[a-z0-9._-]{1,253}|[0-9a-f:.]+", host):
        raise AddressRefused(gettext("This is no URL, such as https://hooks.example.org/exeml."))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme == "https", host, port or (443 if parts.scheme == "https" else 80), path


def _resolve(host: str, port: int) -> tuple[IpAddress, ...]:
    """All addresses of a host. Raises AddressRefused where it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        found = []
    texts = [str(sockaddr[0]).partition("%")[0] for *_, sockaddr in found]
    if not texts:
        text = gettext("The name %(host)s is not known in the network.")
        raise AddressRefused(text % {"host": host})
    return tuple(dict.fromkeys(ip_address(text) for text in texts))


def may_call(address: IpAddress) -> bool:
    """Whether the address is public, or one that an operator allowed."""
    inner = _inner(address)
    if any(one in network for one in {address, inner} for network in _networks()):
        return True
    is_special = inner.is_multicast or inner.is_reserved or inner.is_unspecified
    return inner.is_global and not is_special and not any(inner in network for network in NOT_PUBLIC)


def _inner(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 address leads to; else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address


def _networks() -> list[Any]:
    return [ip_network(entry, strict=False) for entry in settings.EXEML_WEBHOOK_ALLOW if is_network(entry)]


def is_network(entry: str) -> bool:
    """Whether an entry of EXEML_WEBHOOK_ALLOW is an IP address or a network; else it names a host."""
    try:
        ip_network(entry, strict=False)
    except ValueError:
        return False
    return True


def _is_allowed_host(host: str) -> bool:
    """Whether an operator allowed this name; `.example.org` allows all names below example.org."""
    return any(
        host == entry or (entry.startswith(".") and host.endswith(entry))
        for entry in settings.EXEML_WEBHOOK_ALLOW
    )
