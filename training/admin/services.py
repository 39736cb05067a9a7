"""Admin pages of services, tokens, calls and batches, for operators."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from projects.admin.base import DeletedFilter, ReadOnlyAdmin, ReadOnlyInline
from projects.admin.purge import purge_chosen, restore_chosen
from training.admin.versions import OperatingAdmin
from training.models import (
    Batch,
    CallMinute,
    CollectedCall,
    Service,
    ServiceEvent,
    ServiceToken,
    ShadowAnswer,
    ShadowCount,
)
from training.serving import deleted_services, deploy


class ServiceEventsInline(ReadOnlyInline):
    model = ServiceEvent
    fields = ["at", "by", "message"]
    readonly_fields = ["at"]


@admin.register(Service)
class ServiceAdmin(OperatingAdmin):
    list_display = [
        "name",
        "project",
        "training_version",
        "status",
        "stops_at",
        "calls",
        "failed_calls",
        "deployed_by",
        "deployed_at",
        "deleted_at",
    ]
    list_filter = ["status", DeletedFilter]
    search_fields = ["name", "=id", "project__name"]
    date_hierarchy = "deployed_at"
    list_select_related = ["project", "training_version", "deployed_by"]
    inlines = [ServiceEventsInline]
    actions = ["stop", "start", "restore", "purge"]

    def view_on_site(self, service: Service) -> str | None:
        is_gone = service.deleted_at or service.project.deleted_at
        return None if is_gone else reverse("service_page", args=[service.project_id, service.pk])

    @admin.action(description="Stop", permissions=["operate"])
    def stop(self, request: HttpRequest, services: QuerySet[Service]) -> None:
        self.act_on_each(request, services, deploy.stop, "Stopped", "they were not running")

    @admin.action(description="Start", permissions=["operate"])
    def start(self, request: HttpRequest, services: QuerySet[Service]) -> None:
        self.act_on_each(
            request, services, deploy.start, "Deploying again", "they were running already or deleted"
        )

    @admin.action(description="Restore (as Stopped)", permissions=["operate"])
    def restore(self, request: Any, services: QuerySet[Service]) -> None:
        chosen = services.select_related("project", "training_version")
        restore_chosen(self, request, chosen, deleted_services.restore)

    @admin.action(description="Purge: remove for good", permissions=["operate"])
    def purge(self, request: HttpRequest, services: QuerySet[Service]) -> HttpResponse | None:
        return purge_chosen(self, request, services.select_related("project"), deleted_services.purge)


@admin.register(ServiceEvent)
class ServiceEventAdmin(ReadOnlyAdmin):
    list_display = ["at", "service", "message", "by"]
    list_display_links = ["at"]
    search_fields = ["service__name", "message", "by__username"]
    date_hierarchy = "at"
    list_select_related = ["service", "by"]


@admin.register(ServiceToken)
class ServiceTokenAdmin(ReadOnlyAdmin):
    """Tokens without their hash. Managers rotate and revoke tokens on the service's page."""

    list_display = ["name", "service", "hint", "created_by", "created_at", "last_used_at", "revoked_at"]
    search_fields = ["name", "service__name", "service__project__name"]
    list_select_related = ["service", "created_by"]
    exclude = ["token_hash"]


@admin.register(CallMinute)
class CallMinuteAdmin(ReadOnlyAdmin):
    list_display = ["minute", "service", "training_version", "calls", "failed", "unknown"]
    list_display_links = ["minute"]
    search_fields = ["service__name", "service__project__name"]
    date_hierarchy = "minute"
    list_select_related = ["service", "training_version"]


@admin.register(CollectedCall)
class CollectedCallAdmin(ReadOnlyAdmin):
    list_display = ["at", "service", "training_version", "predicted", "confidence", "verdict", "feedback_by"]
    list_display_links = ["at"]
    list_filter = ["verdict", "is_known"]
    search_fields = ["=id", "service__name", "service__project__name", "feedback_by"]
    date_hierarchy = "at"
    list_select_related = ["service", "training_version"]


@admin.register(ShadowCount)
class ShadowCountAdmin(ReadOnlyAdmin):
    list_display = ["service", "training_version", "shadow_version", "images", "agreed", "skipped", "failed"]
    search_fields = ["service__name", "service__project__name"]
    date_hierarchy = "last_at"
    list_select_related = ["service", "training_version", "shadow_version"]


@admin.register(ShadowAnswer)
class ShadowAnswerAdmin(ReadOnlyAdmin):
    list_display = ["at", "service", "training_version", "predicted", "shadow_version", "shadow_predicted"]
    list_display_links = ["at"]
    list_filter = ["agrees"]
    search_fields = ["=id", "service__name", "service__project__name"]
    date_hierarchy = "at"
    list_select_related = ["service", "training_version", "shadow_version"]


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    list_display = [
        "name",
        "service",
        "training_version",
        "status",
        "done",
        "total",
        "failed",
        "created_by",
        "created_at",
    ]
    list_filter = ["status"]
    search_fields = ["name", "service__name", "service__project__name", "created_by__username"]
    date_hierarchy = "created_at"
    list_select_related = ["service", "training_version", "created_by"]
