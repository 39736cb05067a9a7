"""Tokens of a service, for programs that only call it. Access tokens with the scope `deploy` call it too."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from ninja import Field, Query, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.idempotency import once_but_secret
from projects.api.core.pages import PageParams, page_of
from projects.models import Project, Role, Scope
from projects.workspace.secret_token import Token
from training.api.services import SERVICE, get_service
from training.forms.service_settings import TokenForm
from training.models import Service, ServiceToken
from training.serving import tokens

router = Router(tags=["Services"])
TOKENS = SERVICE + "/tokens"
TOKEN = TOKENS + "/{int:token_id}"


class ServiceTokenOut(Schema):
    id: int
    name: str
    hint: str = Field(description="Its last characters.")
    created_at: datetime
    created_by: str | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, token: ServiceToken) -> ServiceTokenOut:
        return cls(
            id=token.pk,
            name=token.name,
            hint=token.hint,
            created_at=token.created_at,
            created_by=token.created_by.get_username() if token.created_by else None,
            last_used_at=token.last_used_at,
        )


class ServiceTokenPage(Schema):
    items: list[ServiceTokenOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class CreatedServiceToken(ServiceTokenOut):
    token: str | None = Field(description="Shown here alone. Null where the call was repeated.")

    @classmethod
    def created(cls, service: Service, token: Token) -> CreatedServiceToken:
        row = service.tokens.select_related("created_by").get(token_hash=token.hash)
        return cls(**ServiceTokenOut.of(row).model_dump(), token=token.plain)


class ServiceTokenCreation(Body):
    name: str


@router.get(TOKENS, response=ServiceTokenPage)
@project_call(Role.VIEWER, Scope.READ)
def list_service_tokens(
    request: ApiRequest, project: Project, service_id: UUID, params: Query[PageParams]
) -> ServiceTokenPage:
    """The tokens of a service that are not revoked."""
    valid = get_service(project, service_id).tokens.filter(revoked_at=None).select_related("created_by")
    rows, cursor = page_of(valid, params, is_newest_first=False)
    return ServiceTokenPage(items=[ServiceTokenOut.of(row) for row in rows], next=cursor)


@router.post(TOKENS, response=CreatedServiceToken)
@project_call(Role.MANAGER, Scope.DEPLOY)
@once_but_secret("token")
def create_service_token(
    request: ApiRequest, project: Project, service_id: UUID, body: ServiceTokenCreation
) -> CreatedServiceToken:
    """Create a token for another program."""
    service = get_service(project, service_id)
    form = TokenForm({"token-name": body.name})
    if not form.is_valid():
        raise problems.of_form(form)
    try:
        token = tokens.create_token(service, form.cleaned_data["name"], request.user)
    except tokens.TokenRefused as refused:
        raise problems.invalid_field("name", refused) from refused
    return CreatedServiceToken.created(service, token)


@router.post(TOKEN + "/rotate", response=CreatedServiceToken)
@project_call(Role.MANAGER, Scope.DEPLOY)
@once_but_secret("token")
def rotate_service_token(
    request: ApiRequest, project: Project, service_id: UUID, token_id: int
) -> CreatedServiceToken:
    """Replace a token by a new one of its name. The old one stops working at once."""
    service = get_service(project, service_id)
    token = tokens.rotate_token(service, token_id, request.user)
    if token is None:
        raise problems.not_found()
    return CreatedServiceToken.created(service, token)


@router.delete(TOKEN, response={204: None})
@project_call(Role.MANAGER, Scope.DEPLOY)
def revoke_service_token(request: ApiRequest, project: Project, service_id: UUID, token_id: int) -> None:
    """Revoke a token: it stops working at once."""
    if not tokens.revoke_token(get_service(project, service_id), token_id, request.user):
        raise problems.not_found()
