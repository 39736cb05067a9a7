"""Whose token it is, and what it allows."""

from __future__ import annotations

from datetime import datetime

from ninja import Router, Schema

from projects.api.core.access import ApiRequest, account_call
from projects.models import Membership, Role, Scope

router = Router(tags=["Account"])


class TeamOfAccount(Schema):
    """A team and the role of the token's owner in it."""

    id: int
    name: str
    role: str

    @classmethod
    def of(cls, membership: Membership) -> TeamOfAccount:
        team = membership.team
        return cls(id=team.pk, name=team.name, role=role_name(membership.role))


class Account(Schema):
    username: str
    is_service_account: bool
    token_name: str
    scopes: list[str]
    expires_at: datetime | None
    teams: list[TeamOfAccount]


def role_name(role: int) -> str:
    """A role as the API writes it: viewer, labeler, reviewer, manager."""
    return Role(role).name.lower()


@router.get("/account", response=Account, url_name="api_account")
@account_call(Scope.READ)
def show_account(request: ApiRequest) -> Account:
    """The owner of the token, the token's scopes, and the owner's teams."""
    token = request.auth
    memberships = Membership.objects.filter(user=request.user).select_related("team")
    return Account(
        username=request.user.get_username(),
        is_service_account=hasattr(request.user, "service_account"),
        token_name=token.name,
        scopes=sorted({Scope.READ.value, *token.scopes}),
        expires_at=token.expires_at,
        teams=[TeamOfAccount.of(membership) for membership in memberships],
    )
