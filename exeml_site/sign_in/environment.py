"""Readers of the settings of sign-in: OpenID Connect, groups that give roles, the trusted header, mail.

docs/operating/sign-in.md explains each. Invalid values raise when the program starts.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

ROLES = ("Viewer", "Labeler", "Reviewer", "Manager")
# A claim that is named by a URL has a colon of its own.
TEAM_RULE = re.compile(rf"((?:https?://)?[^:=]+):(.+)=([^=/]{{1,64}})/({'|'.join(ROLES)})")
MAX_ISSUER = 200


@dataclass(frozen=True)
class OidcSettings:
    issuer: str
    client_id: str
    client_secret: str
    name: str
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class TeamRule:
    """Whoever has `value` in `claim` has `role` in `team`; the value `*` means any."""

    claim: str
    value: str
    team: str
    role: str


def oidc() -> OidcSettings | None:
    """The provider that EXEML_OIDC_URL names; None without one."""
    issuer = os.environ.get("EXEML_OIDC_URL", "").strip().rstrip("/")
    if not issuer:
        return None
    parts = urlsplit(issuer)
    is_local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
        raise ImproperlyConfigured("EXEML_OIDC_URL must begin with https://, or name this machine.")
    if len(issuer) > MAX_ISSUER or issuer.endswith("/.well-known/openid-configuration"):
        raise ImproperlyConfigured(
            f"EXEML_OIDC_URL must be the issuer, without /.well-known/openid-configuration, "
            f"in at most {MAX_ISSUER} characters."
        )
    client_id = os.environ.get("EXEML_OIDC_CLIENT_ID", "").strip()
    if not client_id:
        raise ImproperlyConfigured("EXEML_OIDC_URL needs EXEML_OIDC_CLIENT_ID, the id of this site there.")
    scopes = os.environ.get("EXEML_OIDC_SCOPES", "").split() or ["openid", "profile", "email"]
    if "openid" not in scopes:
        raise ImproperlyConfigured("EXEML_OIDC_SCOPES must contain openid.")
    return OidcSettings(
        issuer=issuer,
        client_id=client_id,
        client_secret=os.environ.get("EXEML_OIDC_CLIENT_SECRET", ""),
        name=os.environ.get("EXEML_OIDC_NAME", "").strip() or str(parts.hostname),
        scopes=tuple(scopes),
    )


def team_rules() -> tuple[TeamRule, ...]:
    """EXEML_SIGN_IN_TEAMS: `groups:ml-team=Greenhouse/Manager, groups:students=Greenhouse/Viewer`."""
    rules = []
    for text in os.environ.get("EXEML_SIGN_IN_TEAMS", "").split(","):
        if not text.strip():
            continue
        match = TEAM_RULE.fullmatch(text.strip())
        if not match:
            raise ImproperlyConfigured(
                f"EXEML_SIGN_IN_TEAMS: {text.strip()!r} must look like claim:value=Team/Role; "
                f"the roles are {', '.join(ROLES)}."
            )
        rules.append(TeamRule(*(part.strip() for part in match.groups())))
    return tuple(rules)


def remote_user_header(trusted_proxies: list[Any]) -> str:
    """The key in `request.META` of the header that EXEML_REMOTE_USER_HEADER names; empty without one."""
    name = os.environ.get("EXEML_REMOTE_USER_HEADER", "").strip()
    if not name:
        return ""
    if not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise ImproperlyConfigured("EXEML_REMOTE_USER_HEADER must be a header's name, such as X-Remote-User.")
    if not trusted_proxies:
        raise ImproperlyConfigured(
            "EXEML_REMOTE_USER_HEADER needs EXEML_TRUSTED_PROXIES: others could send the header as well."
        )
    return f"HTTP_{name.upper().replace('-', '_')}"


def mail() -> dict[str, Any]:
    """Django's settings of mail from EXEML_MAIL_URL; empty without one.

    `smtp://user:password@host:587?from=exeml@example.org` speaks STARTTLS, `smtps://` TLS from the start, and
    `smtp+plain://` neither, for a server on this machine.
    """
    url = os.environ.get("EXEML_MAIL_URL", "").strip()
    if not url:
        return {}
    parts = urlsplit(url)
    sender = dict(parse_qsl(parts.query)).get("from", "")
    if parts.scheme not in {"smtp", "smtps", "smtp+plain"} or not parts.hostname or "@" not in sender:
        raise ImproperlyConfigured(
            "EXEML_MAIL_URL must look like smtp://user:password@host:587?from=exeml@example.org."
        )
    return {
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or {"smtps": 465, "smtp": 587, "smtp+plain": 25}[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_TIMEOUT": 20,
        "DEFAULT_FROM_EMAIL": sender,
    }
