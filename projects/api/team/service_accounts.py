"""Service accounts of a team, and their tokens."""

from __future__ import annotations

from datetime import datetime

from ninja import Field, Query, Router, Schema

from projects.api.account import role_name
from projects.api.core import problems
from projects.api.core.access import ApiRequest, team_call
from projects.api.core.body import Body
from projects.api.core.idempotency import once
from projects.api.core.pages import PageParams, page_of
from projects.api.team.teams import RoleName, role_of
from projects.forms.sign_in.access_tokens import AccessTokenForm, days_value
from projects.forms.sign_in.service_accounts import ServiceAccountForm
from projects.models import AccessToken, Role, Scope, ServiceAccount, Team
from projects.models.access_token import ServiceAccountQuerySet
from projects.sign_in import access_tokens, service_accounts

router = Router(tags=["Service accounts"])


class ServiceAccountOut(Schema):
    user_id: int
    name: str
    username: str = Field(description="As histories and the audit log name it.")
    role: str
    created_at: datetime
    created_by: str | None

    @classmethod
    def of(cls, account: ServiceAccount) -> ServiceAccountOut:
        """`account`: one of `_accounts`."""
        (membership,) = account.user.memberships.all()
        return cls(
            user_id=account.pk,
            name=account.name,
            username=account.user.get_username(),
            role=role_name(membership.role),
            created_at=account.created_at,
            created_by=account.created_by.get_username() if account.created_by else None,
        )


class ServiceAccountPage(Schema):
    items: list[ServiceAccountOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class NewServiceAccount(Body):
    name: str
    role: RoleName = "labeler"


class AccessTokenOut(Schema):
    id: int
    name: str
    hint: str = Field(description="The last characters of the token.")
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, token: AccessToken) -> AccessTokenOut:
        return cls(
            id=token.pk,
            name=token.name,
            hint=token.hint,
            scopes=sorted({Scope.READ.value, *token.scopes}),
            created_at=token.created_at,
            expires_at=token.expires_at,
            last_used_at=token.last_used_at,
        )


class AccessTokenPage(Schema):
    items: list[AccessTokenOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class CreatedAccessToken(AccessTokenOut):
    token: str = Field(description="The token. It is shown only here.")


class NewAccessToken(Body):
    name: str
    scopes: list[str] = Field([], description="Of label, train, deploy, admin. Every token may read.")
    days: int | None = Field(90, description="Until it expires: 30, 90 or 365; null: never.")


@router.get("/teams/{int:team_id}/service-accounts", response=ServiceAccountPage)
@team_call(Role.MANAGER, Scope.READ)
def list_service_accounts(request: ApiRequest, team: Team, params: Query[PageParams]) -> ServiceAccountPage:
    """The service accounts of the team, the newest first."""
    rows, cursor = page_of(_accounts(team), params)
    return ServiceAccountPage(items=[ServiceAccountOut.of(row) for row in rows], next=cursor)


@router.post("/teams/{int:team_id}/service-accounts", response=ServiceAccountOut)
@team_call(Role.MANAGER, Scope.ADMIN)
@once
def create_service_account(request: ApiRequest, team: Team, body: NewServiceAccount) -> ServiceAccountOut:
    """Create an account for a program: a member of this team, with which nobody signs in."""
    form = ServiceAccountForm({"name": body.name, "role": role_of(body.role)})
    if not form.is_valid():
        raise problems.of_form(form)
    try:
        account = service_accounts.create(team, **form.cleaned_data, by=request.user)
    except service_accounts.ServiceAccountRefused as refused:
        raise problems.invalid_field("name", refused) from refused
    return ServiceAccountOut.of(account)


@router.get("/teams/{int:team_id}/service-accounts/{int:account_id}", response=ServiceAccountOut)
@team_call(Role.MANAGER, Scope.READ)
def show_service_account(request: ApiRequest, team: Team, account_id: int) -> ServiceAccountOut:
    """One service account."""
    return ServiceAccountOut.of(_account(team, account_id))


@router.delete("/teams/{int:team_id}/service-accounts/{int:account_id}", response={204: None})
@team_call(Role.MANAGER, Scope.ADMIN)
def delete_service_account(request: ApiRequest, team: Team, account_id: int) -> None:
    """Delete a service account and revoke its tokens. What it did stays in the history."""
    service_accounts.delete(_account(team, account_id), by=request.user)


@router.get("/teams/{int:team_id}/service-accounts/{int:account_id}/tokens", response=AccessTokenPage)
@team_call(Role.MANAGER, Scope.READ)
def list_account_tokens(
    request: ApiRequest, team: Team, account_id: int, params: Query[PageParams]
) -> AccessTokenPage:
    """Its tokens that are not revoked, the newest first."""
    rows, cursor = page_of(access_tokens.unrevoked(_account(team, account_id).user), params)
    return AccessTokenPage(items=[AccessTokenOut.of(row) for row in rows], next=cursor)


@router.post("/teams/{int:team_id}/service-accounts/{int:account_id}/tokens", response=CreatedAccessToken)
@team_call(Role.MANAGER, Scope.ADMIN)
def create_account_token(
    request: ApiRequest, team: Team, account_id: int, body: NewAccessToken
) -> CreatedAccessToken:
    """Create a token, with no scope that your own token lacks. No Idempotency-Key: the answer is not kept."""
    account = _account(team, account_id)
    form = AccessTokenForm({"name": body.name, "scopes": body.scopes, "days": days_value(body.days)})
    if not form.is_valid():
        raise problems.of_form(form)
    if missing := [scope for scope in form.cleaned_data["scopes"] if not request.auth.allows(scope)]:
        raise problems.invalid_field("scopes", f"Your token itself lacks the scope “{missing[0]}”.")
    try:
        row, token = access_tokens.create(
            account.user,
            **form.cleaned_data,
            by=request.user,
            has_second_factor=request.auth.has_second_factor,
        )
    except access_tokens.AccessTokenRefused as refused:
        raise problems.invalid_field("name", refused) from refused
    return CreatedAccessToken(**AccessTokenOut.of(row).dict(), token=token.plain)


@router.delete(
    "/teams/{int:team_id}/service-accounts/{int:account_id}/tokens/{int:account_token_id}",
    response={204: None},
)
@team_call(Role.MANAGER, Scope.ADMIN)
def revoke_account_token(request: ApiRequest, team: Team, account_id: int, account_token_id: int) -> None:
    """Revoke a token: it stops working at once."""
    tokens = access_tokens.unrevoked(_account(team, account_id).user).select_related("user")
    token = tokens.filter(pk=account_token_id).first()
    if token is None or not access_tokens.revoke(token, by=request.user):
        raise problems.not_found()


def _accounts(team: Team) -> ServiceAccountQuerySet:
    accounts = team.service_accounts.alive().select_related("user", "created_by")
    return accounts.prefetch_related("user__memberships")


def _account(team: Team, account_id: int) -> ServiceAccount:
    account = _accounts(team).filter(pk=account_id).first()
    if account is None:
        raise problems.not_found()
    return account
