"""Base classes of admin pages; most of them are read-only."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest

from exeml_site.lib.text import validate_name
from projects import audit
from projects.admin.json_tables import json_column
from projects.models import Project, Team, TeamQuota

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    Inline = admin.TabularInline[Any, Any]
else:
    ModelAdmin, Inline = admin.ModelAdmin, admin.TabularInline


class Admin(ModelAdmin):
    """Every line of text that an operator types is held to the rule of names."""

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **options)
        if isinstance(db_field, models.CharField) and isinstance(field, forms.CharField):
            field.validators.append(validate_name)
            field.widget.attrs.pop("maxlength", None)  # the browser would cut off what is pasted
        return field

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **options: Any) -> Any:
        """A row's page on the site opens for members of its team alone: others get no link to it."""
        response = super().render_change_form(request, context, *args, **options)
        if context["has_absolute_url"] and not _is_member(request.user, options["obj"]):
            context["has_absolute_url"] = False
        return response

    # Each change by an operator also stands in the audit log, which keeps it after the row is gone.

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        _record(audit.Kind.ADMIN_ADDED, obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if message:
            _record(audit.Kind.ADMIN_CHANGED, obj, changes=message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for obj in queryset:
            _record(audit.Kind.ADMIN_DELETED, obj)
        return super().log_deletions(request, queryset)


def _is_member(user: Any, row: Any) -> bool:
    """`row`: a team, a project, or something of a project."""
    project = getattr(row, "project", row)
    team_id = getattr(project, "team_id", project.pk)
    return bool(user.memberships.filter(team=team_id).exists())


def _record(kind: audit.Kind, obj: Any, **details: Any) -> None:
    team = obj if isinstance(obj, Team) else obj.team if isinstance(obj, TeamQuota) else None
    project = obj if isinstance(obj, Project) else None
    audit.record(kind, team=team, project=project, target=obj, model=str(obj._meta.verbose_name), **details)


class ReadOnlyAdmin(Admin):
    """A read-only admin; JSON is shown as tables. Actions marked `operate` need the permission to change."""

    show_full_result_count = False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        columns = self._json_columns
        return [
            (title, options | {"fields": [_replaced(name, columns) for name in options["fields"]]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), *self._json_columns.values()]

    def get_list_display(self, request: HttpRequest) -> Any:
        columns = self._json_columns
        return [_replaced(name, columns) for name in super().get_list_display(request)]

    @cached_property
    def _json_columns(self) -> dict[str, Any]:
        """By the name of the field."""
        fields = [field for field in self.opts.concrete_fields if isinstance(field, models.JSONField)]
        return {field.name: json_column(field) for field in fields}

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")


def _replaced(name: Any, columns: dict[str, Any]) -> Any:
    """The column in place of a field's name, also within a line of several fields."""
    if isinstance(name, list | tuple):
        return [_replaced(one, columns) for one in name]
    return columns.get(name, name)


class ReadOnlyInline(Inline):
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class DeletedFilter(admin.SimpleListFilter):
    title = "deleted"
    parameter_name = "deleted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "No"), ("yes", "Yes")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(deleted_at__isnull=self.value() == "no")
