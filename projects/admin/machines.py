"""Admin of the machines that run the program, and of the backups that they made."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from projects.admin.base import ReadOnlyAdmin
from projects.models import Backup, Machine


@admin.register(Machine)
class MachineAdmin(ReadOnlyAdmin):
    """Machines report themselves. Deleting a row forgets one that was taken away."""

    list_display = ["host", "data_folder", "program", "parts", "cores", "has_gpu", "started_at", "seen_at"]
    search_fields = ["host", "data_folder", "program"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("projects.delete_machine")


@admin.register(Backup)
class BackupAdmin(ReadOnlyAdmin):
    list_display = ["path", "host", "started_at", "finished_at", "verified_at", "size_bytes", "problem"]
    list_filter = ["is_scheduled"]
    search_fields = ["path", "host", "problem"]
