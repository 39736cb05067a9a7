"""Admin pages of training versions, evaluations and flavors, for operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html

from exeml_site.lib.display import percent
from exeml_site.lib.errors import Refused
from projects import audit
from projects.admin.base import Admin, DeletedFilter, ReadOnlyAdmin, ReadOnlyInline
from projects.admin.purge import purge_chosen, restore_chosen
from training.admin.training_actions import training_urls
from training.models import (
    Candidate,
    Curve,
    EvaluatedImage,
    InstanceFlavor,
    LaterPrediction,
    Metric,
    TrainingVersion,
)
from training.versions import deleted_versions, lifecycle

if TYPE_CHECKING:
    OfFlavor = forms.ModelForm[InstanceFlavor]
else:
    OfFlavor = forms.ModelForm


class FlavorForm(OfFlavor):
    def clean_is_enabled(self) -> bool:
        is_enabled = bool(self.cleaned_data["is_enabled"])
        if self.instance.is_default and not is_enabled:
            raise ValidationError("This is the default flavor. Make another one the default first.")
        return is_enabled


@admin.register(InstanceFlavor)
class InstanceFlavorAdmin(Admin):
    form = FlavorForm
    list_display = ["name", "device", "queue", "price_per_hour", "is_default", "is_enabled", "position"]
    list_filter = ["device", "queue", "is_enabled"]
    search_fields = ["name"]
    fields = ["name", "device", "queue", "price_per_hour", "is_enabled", "position", "is_default"]
    readonly_fields = ["is_default"]
    actions = ["make_default"]

    def has_delete_permission(self, request: HttpRequest, obj: InstanceFlavor | None = None) -> bool:
        """Flavors are deleted one at a time, and never the default."""
        may_delete = super().has_delete_permission(request, obj)
        return may_delete and obj is not None and not obj.is_default

    def save_model(self, request: HttpRequest, flavor: InstanceFlavor, form: Any, change: bool) -> None:
        super().save_model(request, flavor, form, change)
        if change and "price_per_hour" in form.changed_data:
            before, price = str(form.initial["price_per_hour"]), str(flavor.price_per_hour)
            currency = settings.EXEML_CURRENCY
            audit.record(
                audit.Kind.PRICE_CHANGED, target=flavor, before=before, price=price, currency=currency
            )

    @admin.action(description="Make this the default", permissions=["change"])
    def make_default(self, request: HttpRequest, chosen: QuerySet[InstanceFlavor]) -> None:
        if len(chosen) != 1:
            self.message_user(request, "Choose one flavor to be the default.", messages.ERROR)
            return
        chosen[0].make_default()
        self.log_change(request, chosen[0], [{"changed": {"fields": ["default"]}}])
        self.message_user(request, f"{chosen[0]} is now the default.", messages.SUCCESS)


class OperatingAdmin(ReadOnlyAdmin):
    """Read-only, with actions that call the same functions as the site's pages."""

    def act_on_each(
        self, request: Any, rows: QuerySet[Any], action: Callable[..., bool], done: str, refused: str
    ) -> None:
        """Call `action(row, by=user)`, true where it changed the row, and report how many it changed."""
        chosen = rows.select_related("project")
        try:
            names = [f"{row.project} {row}" for row in chosen if action(row, by=request.user)]
        except Refused as reason:
            self.message_user(request, str(reason), messages.ERROR)
            return
        if names:
            self.message_user(request, f"{done}: {', '.join(names)}.", messages.SUCCESS)
        if unchanged := len(chosen) - len(names):
            self.message_user(request, f"{unchanged} left unchanged: {refused}.", messages.WARNING)


class CandidatesInline(ReadOnlyInline):
    model = Candidate
    fields = [
        "network",
        "resolution",
        "recipe",
        "accuracy",
        "inference_ms",
        "is_admissible",
        "is_best",
        "seconds",
        "error",
    ]


class OverallMetricsInline(ReadOnlyInline):
    model = Metric
    verbose_name_plural = "overall metrics"
    fields = ["name", "value", "low", "high", "support"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Metric]:
        return super().get_queryset(request).filter(label="")


@admin.register(TrainingVersion)
class TrainingVersionAdmin(OperatingAdmin):
    list_display = [
        "name",
        "project",
        "status",
        "accuracy",
        "flavor_name",
        "duration",
        "attempt",
        "submitted_by",
        "submitted_at",
        "deleted_at",
    ]
    list_filter = ["status", DeletedFilter, "flavor", "inference_hardware", "stop_reason"]
    search_fields = ["project__name", "=job_id", "failure_cause", "submitted_by__username"]
    date_hierarchy = "submitted_at"
    list_select_related = ["project", "submitted_by"]
    inlines = [OverallMetricsInline, CandidatesInline]
    actions = ["stop", "retry", "restore", "purge"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "project",
                    ("name", "status"),
                    "job_id",
                    ("attempt", "claimed_attempt"),
                    "deleted_at",
                ]
            },
        ),
        (
            "Request",
            {
                "fields": [
                    ("dataset_version", "training_ratio"),
                    "incremental_version",
                    "promoted_candidate",
                    ("inference_hardware", "max_inference_ms"),
                    "max_training_minutes",
                    ("flavor_name", "price_per_hour"),
                    ("submitted_by", "submitted_at"),
                ]
            },
        ),
        (
            "Result",
            {
                "fields": [
                    ("started_at", "finished_at", "heartbeat_at"),
                    ("stop_requested_at", "stop_requested_by"),
                    "stop_reason",
                    "failure_cause",
                    "failure_remedy",
                    "ran_on",
                    ("model_name", "model_bytes"),
                    ("inference_ms", "is_inference_measured"),
                    "seconds_by_phase",
                    "progress",
                ]
            },
        ),
        ("Traceback", {"classes": ["collapse"], "fields": ["traceback_text"]}),
    ]
    readonly_fields = ["name", "traceback_text"]

    def get_urls(self) -> list[URLPattern]:
        return [*training_urls(), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrainingVersion]:
        overall = Q(metrics__label="", metrics__name=Metric.Name.ACCURACY)
        versions: QuerySet[TrainingVersion] = super().get_queryset(request)
        versions = versions.defer("traceback", "confusion", "progress")
        return versions.annotate(overall_accuracy=Max("metrics__value", filter=overall))

    def view_on_site(self, version: TrainingVersion) -> str | None:
        is_gone = version.deleted_at or version.project.deleted_at
        return None if is_gone else reverse("training_version", args=[version.project_id, version.number])

    @admin.display(ordering="overall_accuracy")
    def accuracy(self, version: Any) -> str:
        return percent(version.overall_accuracy)

    @admin.display
    def duration(self, version: TrainingVersion) -> str:
        return str(version.elapsed).split(".")[0] if version.started_at else "--"

    @admin.display(description="Traceback")
    def traceback_text(self, version: TrainingVersion) -> str:
        return format_html("<pre>{}</pre>", version.traceback) if version.traceback else "None."

    @admin.action(description="Stop", permissions=["operate"])
    def stop(self, request: HttpRequest, versions: QuerySet[TrainingVersion]) -> None:
        self.act_on_each(
            request, versions, lifecycle.stop, "Asked to stop", "they had ended or were asked already"
        )

    @admin.action(description="Retry", permissions=["operate"])
    def retry(self, request: HttpRequest, versions: QuerySet[TrainingVersion]) -> None:
        self.act_on_each(
            request, versions, lifecycle.retry, "Queued again", "only Failed and Stopped can be retried"
        )

    @admin.action(description="Restore", permissions=["operate"])
    def restore(self, request: Any, versions: QuerySet[TrainingVersion]) -> None:
        restore_chosen(self, request, versions.select_related("project"), deleted_versions.restore)

    @admin.action(description="Purge: remove for good", permissions=["operate"])
    def purge(self, request: HttpRequest, versions: QuerySet[TrainingVersion]) -> HttpResponse | None:
        return purge_chosen(self, request, versions.select_related("project"), deleted_versions.purge)


@admin.register(Candidate)
class CandidateAdmin(ReadOnlyAdmin):
    list_display = [
        "network",
        "resolution",
        "recipe",
        "training_version",
        "project",
        "accuracy",
        "inference_ms",
        "is_admissible",
        "is_best",
    ]
    list_filter = ["network", "recipe", "is_admissible", "is_best"]
    search_fields = ["network", "training_version__project__name", "error"]
    list_select_related = ["training_version__project"]

    @admin.display(ordering="training_version__project__name")
    def project(self, candidate: Candidate) -> str:
        return str(candidate.training_version.project)


@admin.register(Metric)
class MetricAdmin(ReadOnlyAdmin):
    list_display = ["name", "label", "training_version", "project", "value", "low", "high", "support"]
    list_filter = ["name"]
    search_fields = ["label", "training_version__project__name"]
    list_select_related = ["training_version__project"]

    @admin.display(ordering="training_version__project__name")
    def project(self, metric: Metric) -> str:
        return str(metric.training_version.project)


@admin.register(EvaluatedImage)
class EvaluatedImageAdmin(ReadOnlyAdmin):
    list_display = ["image", "training_version", "project", "truth", "predicted", "confidence", "is_correct"]
    list_filter = ["is_correct"]
    search_fields = ["image__name", "training_version__project__name"]
    list_select_related = ["image", "training_version__project"]

    @admin.display(ordering="training_version__project__name")
    def project(self, evaluated: EvaluatedImage) -> str:
        return str(evaluated.training_version.project)


@admin.register(Curve)
class CurveAdmin(ReadOnlyAdmin):
    list_display = ["training_version", "project", "kind", "label", "area"]
    list_filter = ["kind"]
    search_fields = ["label", "training_version__project__name"]
    list_select_related = ["training_version__project"]

    @admin.display(ordering="training_version__project__name")
    def project(self, curve: Curve) -> str:
        return str(curve.training_version.project)


@admin.register(LaterPrediction)
class LaterPredictionAdmin(ReadOnlyAdmin):
    list_display = ["image", "training_version", "project", "predicted"]
    search_fields = ["image__name", "training_version__project__name"]
    list_select_related = ["image", "training_version__project"]

    @admin.display(ordering="training_version__project__name")
    def project(self, later: LaterPrediction) -> str:
        return str(later.training_version.project)
