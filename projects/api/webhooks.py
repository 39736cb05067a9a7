"""Webhooks of projects and teams. Under a team stand those of its projects, too."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Field, Query, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call, team_call
from projects.api.core.body import Body
from projects.api.core.idempotency import once_but_secret
from projects.api.core.pages import PageParams, page_of
from projects.forms.programs.webhooks import WebhookForm
from projects.models import Project, Role, Scope, Team, Webhook, WebhookDelivery, WebhookEvent
from projects.webhooks import lifecycle
from projects.webhooks.addresses import AddressRefused

router = Router(tags=["Webhooks"])
EVENTS = [event.value for event in WebhookEvent if event != WebhookEvent.TEST]
OF_PROJECT = "/projects/{int:project_id}/webhooks"
OF_TEAM = "/teams/{int:team_id}/webhooks"


class WebhookOut(Schema):
    id: int
    team_id: int
    project_id: int | None = Field(description="null: all projects of the team")
    url: str
    events: list[str]
    is_on: bool
    off_cause: str = Field(description="Why it was turned off by itself; else empty.")
    failing_since: datetime | None
    created_at: datetime

    @classmethod
    def fields_of(cls, webhook: Webhook) -> dict[str, Any]:
        return {name: getattr(webhook, name) for name in WebhookOut.model_fields}

    @classmethod
    def of(cls, webhook: Webhook) -> WebhookOut:
        return cls(**cls.fields_of(webhook))


class WebhookPage(Schema):
    items: list[WebhookOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class NewWebhookOut(WebhookOut):
    secret: str | None = Field(
        description="Checks the signatures. It is answered only here; null for a repeated call."
    )


class SecretOut(Schema):
    secret: str
    former_secret_until: datetime | None = Field(description="Until then the former secret signs as well.")


class WebhookCreation(Body):
    url: str
    events: list[str] = EVENTS


class WebhookChange(Body):
    url: str | None = None
    events: list[str] | None = None
    is_on: bool | None = None


class AttemptOut(Schema):
    at: datetime
    status: int | None = Field(description="HTTP status; null without an answer.")
    ms: int
    answer: str = Field(description="The first bytes.")
    problem: str


class DeliveryOut(Schema):
    id: int
    message_id: str
    event: str
    status: str = Field(description="Waiting, Delivered or Failed.")
    created_at: datetime
    next_attempt_at: datetime | None
    attempts: list[AttemptOut] = Field(description="The last 20.")
    body: str = Field(description="As it is signed and sent.")

    @classmethod
    def of(cls, delivery: WebhookDelivery) -> DeliveryOut:
        fields = {name: getattr(delivery, name) for name in cls.model_fields}
        return cls(**fields | {"attempts": [AttemptOut(**attempt) for attempt in delivery.attempts]})


class DeliveryPage(Schema):
    items: list[DeliveryOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


# --- of a project ---


@router.get(OF_PROJECT, response=WebhookPage)
@project_call(Role.MANAGER, Scope.READ)
def list_project_webhooks(request: ApiRequest, project: Project, params: Query[PageParams]) -> WebhookPage:
    """The webhooks of the project, the newest first; those of its team stand under the team."""
    return _list(project, params)


@router.post(OF_PROJECT, response=NewWebhookOut)
@project_call(Role.MANAGER, Scope.ADMIN)
@once_but_secret("secret")
def create_project_webhook(request: ApiRequest, project: Project, body: WebhookCreation) -> NewWebhookOut:
    """Tell a URL what happens in the project. The answer has the secret."""
    return _create(request, project.team, project, body)


@router.get(OF_PROJECT + "/{int:webhook_id}", response=WebhookOut)
@project_call(Role.MANAGER, Scope.READ)
def show_project_webhook(request: ApiRequest, project: Project, webhook_id: int) -> WebhookOut:
    """One webhook of the project."""
    return WebhookOut.of(_find(project, webhook_id))


@router.patch(OF_PROJECT + "/{int:webhook_id}", response=WebhookOut)
@project_call(Role.MANAGER, Scope.ADMIN)
def change_project_webhook(
    request: ApiRequest, project: Project, webhook_id: int, body: WebhookChange
) -> WebhookOut:
    """Change URL or events of a webhook, or turn it on or off."""
    return _change(request, _find(project, webhook_id), body)


@router.delete(OF_PROJECT + "/{int:webhook_id}", response={204: None})
@project_call(Role.MANAGER, Scope.ADMIN)
def delete_project_webhook(request: ApiRequest, project: Project, webhook_id: int) -> None:
    """Delete a webhook with its log and what waits."""
    lifecycle.delete(_find(project, webhook_id), by=request.user)


@router.post(OF_PROJECT + "/{int:webhook_id}/secret", response=SecretOut)
@project_call(Role.MANAGER, Scope.ADMIN)
def rotate_project_webhook_secret(request: ApiRequest, project: Project, webhook_id: int) -> SecretOut:
    """Renew the secret. The former one signs as well for a day."""
    return _rotate(request, _find(project, webhook_id))


@router.post(OF_PROJECT + "/{int:webhook_id}/test", response=DeliveryOut)
@project_call(Role.MANAGER, Scope.ADMIN)
def test_project_webhook(request: ApiRequest, project: Project, webhook_id: int) -> DeliveryOut:
    """Send an event `webhook.test`. Its result appears in the deliveries."""
    return DeliveryOut.of(lifecycle.send_test(_find(project, webhook_id)))


@router.get(OF_PROJECT + "/{int:webhook_id}/deliveries", response=DeliveryPage)
@project_call(Role.MANAGER, Scope.READ)
def list_project_webhook_deliveries(
    request: ApiRequest, project: Project, webhook_id: int, params: Query[PageParams], status: str = ""
) -> DeliveryPage:
    """What was sent in the last 30 days, the newest first. `status`: Waiting, Delivered or Failed."""
    return _deliveries(_find(project, webhook_id), params, status)


@router.post(OF_PROJECT + "/{int:webhook_id}/deliveries/{int:delivery_id}/resend", response=DeliveryOut)
@project_call(Role.MANAGER, Scope.ADMIN)
def resend_project_webhook_delivery(
    request: ApiRequest, project: Project, webhook_id: int, delivery_id: int
) -> DeliveryOut:
    """Send the same message again at once."""
    return _resend(_find(project, webhook_id), delivery_id)


# --- of a team ---


@router.get(OF_TEAM, response=WebhookPage)
@team_call(Role.MANAGER, Scope.READ)
def list_team_webhooks(request: ApiRequest, team: Team, params: Query[PageParams]) -> WebhookPage:
    """The webhooks of the team and of its projects, the newest first."""
    return _list(team, params)


@router.post(OF_TEAM, response=NewWebhookOut)
@team_call(Role.MANAGER, Scope.ADMIN)
@once_but_secret("secret")
def create_team_webhook(request: ApiRequest, team: Team, body: WebhookCreation) -> NewWebhookOut:
    """Tell a URL what happens in all projects of the team. The answer has the secret."""
    return _create(request, team, None, body)


@router.get(OF_TEAM + "/{int:webhook_id}", response=WebhookOut)
@team_call(Role.MANAGER, Scope.READ)
def show_team_webhook(request: ApiRequest, team: Team, webhook_id: int) -> WebhookOut:
    """One webhook of the team or of one of its projects."""
    return WebhookOut.of(_find(team, webhook_id))


@router.patch(OF_TEAM + "/{int:webhook_id}", response=WebhookOut)
@team_call(Role.MANAGER, Scope.ADMIN)
def change_team_webhook(request: ApiRequest, team: Team, webhook_id: int, body: WebhookChange) -> WebhookOut:
    """Change URL or events of a webhook, or turn it on or off."""
    return _change(request, _find(team, webhook_id), body)


@router.delete(OF_TEAM + "/{int:webhook_id}", response={204: None})
@team_call(Role.MANAGER, Scope.ADMIN)
def delete_team_webhook(request: ApiRequest, team: Team, webhook_id: int) -> None:
    """Delete a webhook with its log and what waits."""
    lifecycle.delete(_find(team, webhook_id), by=request.user)


@router.post(OF_TEAM + "/{int:webhook_id}/secret", response=SecretOut)
@team_call(Role.MANAGER, Scope.ADMIN)
def rotate_team_webhook_secret(request: ApiRequest, team: Team, webhook_id: int) -> SecretOut:
    """Renew the secret. The former one signs as well for a day."""
    return _rotate(request, _find(team, webhook_id))


@router.post(OF_TEAM + "/{int:webhook_id}/test", response=DeliveryOut)
@team_call(Role.MANAGER, Scope.ADMIN)
def test_team_webhook(request: ApiRequest, team: Team, webhook_id: int) -> DeliveryOut:
    """Send an event `webhook.test`. Its result appears in the deliveries."""
    return DeliveryOut.of(lifecycle.send_test(_find(team, webhook_id)))


@router.get(OF_TEAM + "/{int:webhook_id}/deliveries", response=DeliveryPage)
@team_call(Role.MANAGER, Scope.READ)
def list_team_webhook_deliveries(
    request: ApiRequest, team: Team, webhook_id: int, params: Query[PageParams], status: str = ""
) -> DeliveryPage:
    """What was sent in the last 30 days, the newest first. `status`: Waiting, Delivered or Failed."""
    return _deliveries(_find(team, webhook_id), params, status)


@router.post(OF_TEAM + "/{int:webhook_id}/deliveries/{int:delivery_id}/resend", response=DeliveryOut)
@team_call(Role.MANAGER, Scope.ADMIN)
def resend_team_webhook_delivery(
    request: ApiRequest, team: Team, webhook_id: int, delivery_id: int
) -> DeliveryOut:
    """Send the same message again at once."""
    return _resend(_find(team, webhook_id), delivery_id)


# --- both ---


def _find(owner: Project | Team, webhook_id: int) -> Webhook:
    webhook = owner.webhooks.shown().select_related("team", "project").filter(pk=webhook_id).first()
    if webhook is None:
        raise problems.not_found()
    return webhook


def _list(owner: Project | Team, params: PageParams) -> WebhookPage:
    webhooks, cursor = page_of(owner.webhooks.shown(), params)
    return WebhookPage(items=[WebhookOut.of(webhook) for webhook in webhooks], next=cursor)


def _checked(url: str, events: list[str]) -> dict[str, Any]:
    form = WebhookForm({"url": url, "events": events})
    if not form.is_valid():
        raise problems.of_form(form)
    return form.cleaned_data


def _create(request: ApiRequest, team: Team, project: Project | None, body: WebhookCreation) -> NewWebhookOut:
    fields, site = _checked(body.url, body.events), request.build_absolute_uri("/").rstrip("/")
    try:
        webhook, secret = lifecycle.create(
            team, project, fields["url"], fields["events"], site=site, by=request.user
        )
    except AddressRefused as refused:
        raise problems.invalid_field("url", refused) from refused
    return NewWebhookOut(**WebhookOut.fields_of(webhook), secret=secret)


def _change(request: ApiRequest, webhook: Webhook, body: WebhookChange) -> WebhookOut:
    url = webhook.url if body.url is None else body.url
    fields = _checked(url, webhook.events if body.events is None else body.events)
    try:
        lifecycle.change(webhook, fields["url"], fields["events"], by=request.user)
    except AddressRefused as refused:
        raise problems.invalid_field("url", refused) from refused
    if body.is_on is not None:
        switch = lifecycle.turn_on if body.is_on else lifecycle.turn_off
        switch(webhook, by=request.user)
    return WebhookOut.of(webhook)


def _rotate(request: ApiRequest, webhook: Webhook) -> SecretOut:
    secret = lifecycle.rotate_secret(webhook, by=request.user)
    return SecretOut(secret=secret, former_secret_until=webhook.former_secret_until)


def _deliveries(webhook: Webhook, params: PageParams, status: str) -> DeliveryPage:
    chosen = webhook.deliveries.all()
    if status:
        if status not in WebhookDelivery.Status.values:
            raise problems.invalid_field("status", "There are Waiting, Delivered and Failed.")
        chosen = chosen.filter(status=status)
    deliveries, cursor = page_of(chosen, params)
    return DeliveryPage(items=[DeliveryOut.of(delivery) for delivery in deliveries], next=cursor)


def _resend(webhook: Webhook, delivery_id: int) -> DeliveryOut:
    delivery = webhook.deliveries.select_related("webhook").filter(pk=delivery_id).first()
    if delivery is None:
        raise problems.not_found()
    lifecycle.resend(delivery)
    delivery.refresh_from_db()
    return DeliveryOut.of(delivery)
