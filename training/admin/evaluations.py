"""Admin pages of evaluations on selected images."""

from __future__ import annotations

from django.contrib import admin

from projects.admin.base import ReadOnlyAdmin
from training.models import SelectedImage, VersionEvaluation


@admin.register(VersionEvaluation)
class VersionEvaluationAdmin(ReadOnlyAdmin):
    list_display = [
        "name",
        "training_version",
        "project",
        "kind",
        "source",
        "status",
        "done",
        "total",
        "created_by",
        "created_at",
        "shown_at",
    ]
    list_filter = ["kind", "status"]
    search_fields = ["name", "training_version__project__name", "created_by__username"]
    date_hierarchy = "created_at"
    list_select_related = ["training_version__project", "source", "created_by"]

    @admin.display(ordering="training_version__project__name")
    def project(self, evaluation: VersionEvaluation) -> str:
        return str(evaluation.training_version.project)


@admin.register(SelectedImage)
class SelectedImageAdmin(ReadOnlyAdmin):
    list_display = ["image", "evaluation", "truth", "predicted", "confidence", "is_correct", "was_trained_on"]
    list_filter = ["is_correct", "was_trained_on"]
    search_fields = ["image__name", "evaluation__name"]
    list_select_related = ["image", "evaluation"]
