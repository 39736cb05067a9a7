"""The webhooks of a team and of its projects, for managers: list, new one, settings, log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from exeml_site.lib.http import page, redirect_to
from exeml_site.lib.params import parse_int
from projects.access import PageRequest, team_page
from projects.forms.programs.webhooks import CreateWebhookForm, WebhookForm, filled_form
from projects.models import Project, Role, Team, Webhook, WebhookDelivery
from projects.webhooks import lifecycle
from projects.webhooks.addresses import AddressRefused

PAGE_SIZE = 50
SOON = timedelta(seconds=30)  # the log is read again while an attempt is as near as that
PAGE, LOG = "webhooks/webhook.html", "webhooks/_deliveries.html"


@team_page(Role.MANAGER)
@require_safe
def team_webhooks(request: PageRequest, team: Team) -> HttpResponse:
    """All webhooks of the team, or those that are told of one project (`?project=`)."""
    project = _asked_project(request, team)
    shown = team.webhooks.shown().select_related("project")
    if project is not None:
        shown = shown.filter(Q(project=project) | Q(project=None))
    context = {"team": team, "project": project, "webhooks": list(shown)}
    return page(request, "webhooks/webhooks.html", context)


@team_page(Role.MANAGER)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def create_webhook(request: PageRequest, team: Team) -> HttpResponse:
    """The secret is shown once, on the page of the new webhook."""
    project = _asked_project(request, team)
    form = CreateWebhookForm(
        request.POST if request.method == "POST" else None,
        team=team,
        initial={"project": str(project.pk) if project else ""},
    )
    if form.is_valid():
        fields, site = form.cleaned_data, request.build_absolute_uri("/").rstrip("/")
        try:
            webhook, secret = lifecycle.create(
                team, fields["project"], fields["url"], fields["events"], site=site, by=request.user
            )
        except AddressRefused as refused:
            form.add_error("url", str(refused))
        except lifecycle.WebhookRefused as refused:
            form.add_error(None, str(refused))
        else:
            return _webhook_page(request, webhook, secret=secret)
    context = {"team": team, "project": project, "form": form}
    return page(request, "webhooks/create_webhook.html", context, status=422 if form.is_bound else 200)


def _asked_project(request: PageRequest, team: Team) -> Project | None:
    """The project of `?project=`. Raises Http404 where the team has no such project."""
    text = request.GET.get("project", "")
    if not text:
        return None
    project = team.projects.alive().filter(pk=parse_int(text) or 0).first()
    if project is None:
        raise Http404
    return project


def _of_team(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Decorator below `team_page`: passes the webhook on instead of its id."""

    @wraps(view)
    def found(request: PageRequest, team: Team, webhook_id: int, **keys: Any) -> HttpResponseBase:
        webhooks = team.webhooks.shown().select_related("team", "project", "created_by")
        return view(request, get_object_or_404(webhooks, pk=webhook_id), **keys)

    return found


@team_page(Role.MANAGER)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@_of_team
def show_webhook(request: PageRequest, webhook: Webhook) -> HttpResponse:
    """Settings and log; a POST changes the settings."""
    if request.method != "POST":
        return _webhook_page(request, webhook)
    form = WebhookForm(request.POST)
    if form.is_valid():
        try:
            lifecycle.change(webhook, form.cleaned_data["url"], form.cleaned_data["events"], by=request.user)
        except AddressRefused as refused:
            form.add_error("url", str(refused))
        else:
            return _done(request, webhook, gettext("The webhook was saved."))
    return _webhook_page(request, webhook, form=form, status=422)


@team_page(Role.MANAGER)
@require_POST
@_of_team
def test_webhook(request: PageRequest, webhook: Webhook) -> HttpResponse:
    try:
        lifecycle.send_test(webhook)
    except lifecycle.WebhookRefused as refused:
        return _webhook_page(request, webhook, refusal=str(refused), status=409)
    return _done(request, webhook, gettext("A test event is being sent. Its result appears in the log."))


@team_page(Role.MANAGER)
@never_cache
@require_POST
@_of_team
def rotate_webhook_secret(request: PageRequest, webhook: Webhook) -> HttpResponse:
    return _webhook_page(request, webhook, secret=lifecycle.rotate_secret(webhook, by=request.user))


@team_page(Role.MANAGER)
@require_POST
@_of_team
def switch_webhook(request: PageRequest, webhook: Webhook) -> HttpResponse:
    if request.POST.get("on") == "yes":
        lifecycle.turn_on(webhook, by=request.user)
        return _done(request, webhook, gettext("The webhook is on."))
    lifecycle.turn_off(webhook, by=request.user)
    return _done(request, webhook, gettext("The webhook is off."))


@team_page(Role.MANAGER)
@require_POST
@_of_team
def delete_webhook(request: PageRequest, webhook: Webhook) -> HttpResponse:
    lifecycle.delete(webhook, by=request.user)
    messages.success(request, gettext("The webhook was deleted."))
    return redirect_to(request, reverse("team_webhooks", args=[webhook.team_id]))


@team_page(Role.MANAGER)
@require_POST
@_of_team
def resend_delivery(request: PageRequest, webhook: Webhook, delivery_id: int) -> HttpResponse:
    delivery = get_object_or_404(webhook.deliveries.select_related("webhook"), pk=delivery_id)
    try:
        lifecycle.resend(delivery)
    except lifecycle.WebhookRefused as refused:
        return _webhook_page(request, webhook, refusal=str(refused), status=409)
    return _done(request, webhook, gettext("The event is being sent again."))


def _done(request: PageRequest, webhook: Webhook, message: str) -> HttpResponse:
    messages.success(request, message)
    return redirect_to(request, reverse("show_webhook", args=[webhook.team_id, webhook.pk]))


def _webhook_page(
    request: PageRequest, webhook: Webhook, *, form: WebhookForm | None = None, status: int = 200, **more: Any
) -> HttpResponse:
    before = parse_int(request.GET.get("before"))
    chosen = webhook.deliveries.filter(pk__lt=before) if before else webhook.deliveries.all()
    deliveries = list(chosen[: PAGE_SIZE + 1])
    shown = deliveries[:PAGE_SIZE]
    context = {
        "team": webhook.team,
        "webhook": webhook,
        "form": form or filled_form(webhook),
        "former_until": _former_until(webhook),
        "deliveries": [(delivery, _attempts(delivery)) for delivery in shown],
        "older": shown[-1].pk if len(deliveries) > PAGE_SIZE else None,
        "is_busy": not before and any(_is_soon(delivery) for delivery in shown) and webhook.is_on,
        "address": reverse("show_webhook", args=[webhook.team_id, webhook.pk]),
        **more,
    }
    is_log = request.method != "POST"
    return page(request, PAGE, context, fragment=LOG if is_log else None, status=status)


def _former_until(webhook: Webhook) -> datetime | None:
    """Until when the former secret signs as well; None if it does not."""
    until = webhook.former_secret_until
    return until if until and until > timezone.now() else None


def _attempts(delivery: WebhookDelivery) -> list[dict[str, Any]]:
    """The attempts, the last first, with their times as times."""
    return [
        {**attempt, "at": datetime.fromisoformat(attempt["at"])} for attempt in reversed(delivery.attempts)
    ]


def _is_soon(delivery: WebhookDelivery) -> bool:
    return delivery.next_attempt_at is not None and delivery.next_attempt_at < timezone.now() + SOON
