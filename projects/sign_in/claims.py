"""What a provider says about a person, and which roles in teams follow from it (EXEML_SIGN_IN_TEAMS)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from exeml_site.lib.params import is_storable
from projects.models import Role

MAX_NAME, MAX_UID = 150, 191


@dataclass(frozen=True)
class Identity:
    """A person as a provider knows them. `email` is empty unless the provider has verified it."""

    provider: str
    uid: str
    username: str = ""
    full_name: str = ""
    email: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict)


def roles_of(claims: Mapping[str, Any]) -> dict[str, Role]:
    """By the name of the team: the highest role that a rule gives."""
    roles: dict[str, Role] = {}
    for rule in settings.SIGN_IN_TEAMS:
        values = _values(claims, rule.claim)
        if rule.value in values or (rule.value == "*" and values):
            role = Role[rule.role.upper()]
            roles[rule.team] = max(role, roles.get(rule.team, role))
    return roles


def ruled_teams() -> set[str]:
    """Names of the teams in which the provider says who has which role."""
    return {rule.team for rule in settings.SIGN_IN_TEAMS}


def claim_text(value: Any, longest: int) -> str:
    """A claim as text that the database can hold. Raises ValueError for one that it cannot."""
    text = str(value or "")
    if len(text) > longest or not is_storable(text):
        raise ValueError("a claim is too long or has invalid characters")  # not translated: for the log
    return text


def _values(claims: Mapping[str, Any], name: str) -> set[str]:
    """The values of a claim; `realm_access.roles` is the list `roles` within `realm_access`."""
    value: Any = claims
    for part in [name] if name in claims else name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str | int):
        return {str(value)}
    return {str(one) for one in value} if isinstance(value, Iterable) else set()
