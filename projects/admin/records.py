"""Admin of the audit log, usage, webhooks and notices, which are read-only, and of the limits of teams."""

from __future__ import annotations

from django.contrib import admin

from projects.admin.base import Admin, ReadOnlyAdmin
from projects.models import (
    AuditEvent,
    MailNotice,
    MutedNotice,
    RaisedAlarm,
    TeamQuota,
    Usage,
    Webhook,
    WebhookDelivery,
)


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """The page /audit/ has the filters; nobody can change or delete an event."""

    list_display = ["at", "user_name", "kind_text", "target", "team_name", "project_name", "way", "address"]
    list_display_links = ["at"]
    list_filter = ["way"]
    search_fields = ["user_name", "=kind", "team_name", "project_name", "target", "=address"]
    date_hierarchy = "at"


@admin.register(Usage)
class UsageAdmin(ReadOnlyAdmin):
    """What the page /usage/ adds up. Limits of teams have a page of their own."""

    list_display = ["month", "kind", "team_name", "project_name", "user_name", "flavor_name", "quantity"]
    list_filter = ["kind", "team"]
    search_fields = ["team_name", "project_name", "user_name"]
    date_hierarchy = "month"


@admin.register(TeamQuota)
class TeamQuotaAdmin(Admin):
    """The limits of teams. An empty field limits nothing."""

    list_display = [
        "team",
        "max_storage_gb",
        "max_training_hours",
        "max_cost",
        "max_concurrent_trainings",
    ]
    search_fields = ["team__name"]
    autocomplete_fields = ["team"]
    list_select_related = ["team"]


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdmin):
    """Managers change their webhooks on the page of the team. Secrets are not shown."""

    list_display = ["url", "team", "project", "is_on", "failing_since", "off_cause", "created_by"]
    list_filter = ["is_on"]
    search_fields = ["url", "team__name", "project__name"]
    list_select_related = ["team", "project", "created_by"]


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """What was sent, and what waits."""

    list_display = ["created_at", "event", "webhook", "status", "attempt_count", "next_attempt_at"]
    list_display_links = ["created_at"]
    list_filter = ["status"]
    search_fields = ["=message_id", "=event", "webhook__url"]
    list_select_related = ["webhook"]
    date_hierarchy = "created_at"


@admin.register(RaisedAlarm)
class RaisedAlarmAdmin(ReadOnlyAdmin):
    """Alarms that are on, so that they are told once."""

    list_display = ["raised_at", "event", "project", "subject"]
    list_display_links = ["raised_at"]
    search_fields = ["=event", "subject", "project__name"]
    list_select_related = ["project"]


@admin.register(MailNotice)
class MailNoticeAdmin(ReadOnlyAdmin):
    """What was mailed to people, and what waits."""

    list_display = ["created_at", "user", "kind", "project", "team", "mailed_at"]
    list_display_links = ["created_at"]
    list_filter = ["kind"]
    search_fields = ["user__username", "project__name", "source"]
    list_select_related = ["user", "project", "team"]


@admin.register(MutedNotice)
class MutedNoticeAdmin(ReadOnlyAdmin):
    """The kinds of which people want no mail."""

    list_display = ["user", "kind"]
    list_filter = ["kind"]
    search_fields = ["user__username"]
    list_select_related = ["user"]
