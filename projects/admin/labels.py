"""Read-only admin of computed rows, collaboration and transfers."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from projects.admin.base import ReadOnlyAdmin
from projects.models import (
    Assignment,
    DataSource,
    DuplicateKey,
    Embedding,
    LabelEventImage,
    Opinion,
    Prediction,
    Presence,
    RejectedFile,
    RejectedSuggestion,
    Transfer,
)


@admin.register(LabelEventImage)
class LabelEventImageAdmin(ReadOnlyAdmin):
    list_display = ["image", "event_id"]
    search_fields = ["image__name"]
    list_select_related = ["image"]


@admin.register(Embedding)
class EmbeddingAdmin(ReadOnlyAdmin):
    list_display = ["image", "network"]
    list_filter = ["network"]
    search_fields = ["image__name"]
    list_select_related = ["image"]
    exclude = ["sketch", "vector"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Embedding]:
        return super().get_queryset(request).defer("sketch", "vector")


@admin.register(DuplicateKey)
class DuplicateKeyAdmin(ReadOnlyAdmin):
    list_display = ["image"]
    search_fields = ["image__name"]
    list_select_related = ["image"]
    exclude = ["pixels"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[DuplicateKey]:
        return super().get_queryset(request).defer("pixels")


@admin.register(RejectedSuggestion)
class RejectedSuggestionAdmin(ReadOnlyAdmin):
    list_display = ["image", "label", "by", "at"]
    search_fields = ["image__name", "label__name", "by__username"]
    list_select_related = ["image", "label", "by"]


@admin.register(Prediction)
class PredictionAdmin(ReadOnlyAdmin):
    list_display = ["image", "version", "scores"]
    search_fields = ["image__name"]
    list_select_related = ["image"]


@admin.register(Assignment)
class AssignmentAdmin(ReadOnlyAdmin):
    list_display = ["image", "user", "by", "at"]
    search_fields = ["image__name", "user__username"]
    list_select_related = ["image", "user", "by"]


@admin.register(Presence)
class PresenceAdmin(ReadOnlyAdmin):
    list_display = ["user", "project", "seen_at"]
    search_fields = ["user__username", "project__name"]
    list_select_related = ["user", "project"]


@admin.register(Opinion)
class OpinionAdmin(ReadOnlyAdmin):
    list_display = ["image", "by", "at"]
    search_fields = ["image__name", "by__username"]
    list_select_related = ["image", "by"]


@admin.register(DataSource)
class DataSourceAdmin(ReadOnlyAdmin):
    list_display = ["project", "address", "has_folder_labels", "chosen_by", "synchronized_at"]
    search_fields = ["project__name", "address"]
    list_select_related = ["project", "chosen_by"]


@admin.register(Transfer)
class TransferAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "project", "kind", "file_name", "status", "cursor", "total", "by"]
    list_display_links = ["created_at"]
    list_filter = ["kind", "status"]
    search_fields = ["project__name", "file_name", "by__username"]
    date_hierarchy = "created_at"
    list_select_related = ["project", "by"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Transfer]:
        return super().get_queryset(request).defer("report", "traceback")


@admin.register(RejectedFile)
class RejectedFileAdmin(ReadOnlyAdmin):
    list_display = ["name", "reason", "transfer"]
    search_fields = ["name", "reason"]
    list_select_related = ["transfer"]
