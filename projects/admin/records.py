"""Read-only admin of the audit log and of usage."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from projects.admin.base import ReadOnlyAdmin
from projects.models import AuditEvent, TeamQuota, Usage


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
    """What the page /usage/ adds up. Limits of a team are set on the team's page."""

    list_display = ["month", "kind", "team_name", "project_name", "user_name", "flavor_name", "quantity"]
    list_filter = ["kind", "team"]
    search_fields = ["team_name", "project_name", "user_name"]
    date_hierarchy = "month"


@admin.register(TeamQuota)
class TeamQuotaAdmin(ReadOnlyAdmin):
    """The limits of all teams; they are set on the page of each team."""

    list_display = [
        "team",
        "max_storage_gb",
        "max_training_hours",
        "max_cost",
        "max_concurrent_trainings",
    ]
    search_fields = ["team__name"]
    list_select_related = ["team"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allowed only as part of deleting a team."""
        return "projects/team" in request.path and request.user.has_perm("projects.delete_teamquota")
