"""Readers of the settings of sign-in with a directory (LDAP, Active Directory).

docs/operating/sign-in.md explains each. Invalid values raise when the program starts.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

PORTS = {"ldaps": 636, "ldap": 389, "ldap+plain": 389}
PERSON_FILTER = "(uid={username})"
GROUP_FILTER = "(|(member={dn})(uniqueMember={dn})(memberUid={username}))"
ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


@dataclass(frozen=True)
class LdapServer:
    """`is_secure_from_start`: TLS before the first word; else StartTLS, unless the server `is_plain`."""

    host: str
    port: int
    is_secure_from_start: bool = False
    is_plain: bool = False


@dataclass(frozen=True)
class LdapSettings:
    """People are those below `base` whom `person_filter` finds; their groups lie below `group_base`, or are
    those of `memberOf` if it is empty. `email`: the attribute with an e-mail that people cannot change."""

    servers: tuple[LdapServer, ...]
    base: str
    bind_dn: str = ""
    bind_password: str = ""
    person_filter: str = PERSON_FILTER
    group_base: str = ""
    group_filter: str = GROUP_FILTER
    email: str = ""
    ca_file: str = ""


def ldap() -> LdapSettings | None:
    """The directory that EXEML_LDAP_URL names; None without one."""
    urls = [text.strip() for text in _env("EXEML_LDAP_URL").split(",") if text.strip()]
    if not urls:
        return None
    settings = LdapSettings(
        servers=tuple(map(_server, urls)),
        base=_env("EXEML_LDAP_BASE"),
        bind_dn=_env("EXEML_LDAP_BIND_DN"),
        bind_password=os.environ.get("EXEML_LDAP_BIND_PASSWORD", ""),
        person_filter=_env("EXEML_LDAP_FILTER") or PERSON_FILTER,
        group_base=_env("EXEML_LDAP_GROUP_BASE"),
        group_filter=_env("EXEML_LDAP_GROUP_FILTER") or GROUP_FILTER,
        email=_env("EXEML_LDAP_EMAIL"),
        ca_file=_env("EXEML_LDAP_CA_FILE"),
    )
    if not settings.base:
        raise ImproperlyConfigured(
            "EXEML_LDAP_URL needs EXEML_LDAP_BASE, such as ou=people,dc=example,dc=org."
        )
    if bool(settings.bind_dn) != bool(settings.bind_password):
        raise ImproperlyConfigured("EXEML_LDAP_BIND_DN and EXEML_LDAP_BIND_PASSWORD need each other.")
    if settings.email and not ATTRIBUTE.fullmatch(settings.email):
        raise ImproperlyConfigured("EXEML_LDAP_EMAIL must be the name of an attribute, such as mail.")
    if settings.ca_file and not Path(settings.ca_file).is_file():
        raise ImproperlyConfigured(f"EXEML_LDAP_CA_FILE: there is no file {settings.ca_file}.")
    _check_filter("EXEML_LDAP_FILTER", settings.person_filter, ("username",))
    _check_filter("EXEML_LDAP_GROUP_FILTER", settings.group_filter, ("dn", "username"))
    return settings


def _env(name: str) -> str:
    return os.environ.get(name, "").strip()


def _server(url: str) -> LdapServer:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in PORTS or not parts.hostname or port == 0 or parts.path.strip("/"):
        raise ImproperlyConfigured(
            f"EXEML_LDAP_URL: {url!r} must look like ldaps://host, or ldap://host, which speaks StartTLS; "
            "ldap+plain://host sends passwords without encryption."
        )
    return LdapServer(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        is_secure_from_start=parts.scheme == "ldaps",
        is_plain=parts.scheme == "ldap+plain",
    )


def _check_filter(name: str, text: str, places: tuple[str, ...]) -> None:
    """A filter has at least one of `places`, and no other braces."""
    rest = text
    for place in places:
        rest = rest.replace(f"{{{place}}}", "x")
    is_whole = text.startswith("(") and text.endswith(")") and text.count("(") == text.count(")")
    if rest == text or not is_whole or {"{", "}"} & {*rest}:
        names = " or ".join(f"{{{place}}}" for place in places)
        raise ImproperlyConfigured(f"{name} must be a filter in parentheses with {names}, not {text!r}.")
