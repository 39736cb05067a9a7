"""Read-only admin of the audit log."""

from __future__ import annotations

from django.contrib import admin

from projects.admin.base import ReadOnlyAdmin
from projects.models import AuditEvent


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """The page /audit/ has the filters; nobody can change or delete an event."""

    list_display = ["at", "user_name", "kind_text", "target", "team_name", "project_name", "way", "address"]
    list_display_links = ["at"]
    list_filter = ["way"]
    search_fields = ["user_name", "=kind", "team_name", "project_name", "target", "=address"]
    date_hierarchy = "at"
