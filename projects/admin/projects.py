"""Admin of projects, labels and dataset versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from exeml_site.lib import jobs
from projects.admin.base import Admin, DeletedFilter, ReadOnlyAdmin
from projects.admin.purge import purge_chosen
from projects.models import DatasetVersion, Label, Project
from projects.workspace import lifecycle

PURGE = "purge_project"  # name of the job
PURGE_TIMEOUT_S = 12 * 60 * 60

if TYPE_CHECKING:
    ProjectModelForm = forms.ModelForm[Project]
else:
    ProjectModelForm = forms.ModelForm


class ProjectForm(ProjectModelForm):
    """Lets operators rename a project, which is needed to restore one whose name has been taken."""

    class Meta:
        model = Project
        fields = ["name", "description"]

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        others = Project.objects.alive().filter(team=self.instance.team_id).exclude(pk=self.instance.pk)
        if self.instance.deleted_at is None and others.filter(name__iexact=name).exists():
            raise ValidationError(lifecycle.NAME_TAKEN)
        return name


@admin.register(Project)
class ProjectAdmin(Admin):
    form = ProjectForm
    list_display = ["name", "team", "is_multi_label", "created_by", "created_at", "deleted_at", "deleted_by"]
    list_filter = [DeletedFilter, "is_multi_label", "team"]
    search_fields = ["name", "description", "team__name"]
    date_hierarchy = "created_at"
    list_select_related = ["team", "created_by", "deleted_by"]
    readonly_fields = ["team", "is_multi_label", "created_by", "created_at", "deleted_at", "deleted_by"]
    actions = ["restore", "delete", "purge"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def view_on_site(self, project: Project) -> str | None:
        return None if project.deleted_at else reverse("label_data", args=[project.pk])

    @admin.action(description="Restore", permissions=["change"])
    def restore(self, request: HttpRequest, projects: QuerySet[Project]) -> None:
        for project in projects.select_related("team"):
            try:
                lifecycle.restore_project(project)
            except lifecycle.NameTaken:
                message = (
                    f"Not restored: {project}. {project.team} has another project of this name. "
                    "Rename one of the two here, then restore."
                )
                self.message_user(request, message, messages.ERROR)
            except lifecycle.ProjectRefused as refused:
                self.message_user(request, f"Not restored: {project}. {refused}", messages.ERROR)
            else:
                self.message_user(request, f"Restored: {project}.", messages.SUCCESS)

    @admin.action(description="Delete (can be restored)", permissions=["change"])
    def delete(self, request: Any, projects: QuerySet[Project]) -> None:
        for project in projects:
            try:
                lifecycle.delete_project(project, by=request.user)
            except lifecycle.ProjectRefused as refused:
                self.message_user(request, f"Not deleted: {project}. {refused}", messages.ERROR)
            else:
                self.message_user(request, f"Deleted: {project}.", messages.SUCCESS)

    @admin.action(description="Purge: remove for good", permissions=["change"])
    def purge(self, request: HttpRequest, projects: QuerySet[Project]) -> HttpResponse | None:
        return purge_chosen(self, request, projects, _enqueue_purge, done="A worker is purging")


def _enqueue_purge(project: Project) -> bool:
    """Ask a worker to purge a deleted project. Raises ProjectRefused if Redis does not answer."""
    if project.deleted_at is None:
        return False
    if not jobs.enqueue_now(PURGE, project.pk, queue=settings.QUEUE_IMPORTS, timeout_s=PURGE_TIMEOUT_S):
        raise lifecycle.ProjectRefused("Redis does not answer. Try again when it does.")
    return True


@admin.register(Label)
class LabelAdmin(ReadOnlyAdmin):
    list_display = ["name", "project", "position", "created_at"]
    search_fields = ["name", "project__name"]
    date_hierarchy = "created_at"
    list_select_related = ["project"]


@admin.register(DatasetVersion)
class DatasetVersionAdmin(ReadOnlyAdmin):
    list_display = [
        "name",
        "project",
        "published_at",
        "image_count",
        "train_count",
        "eval_count",
        "created_by",
        "created_at",
    ]
    list_filter = [("published_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "project__name", "=sha256"]
    date_hierarchy = "created_at"
    list_select_related = ["project", "created_by"]
