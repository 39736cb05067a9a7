"""Stop and Retry of one training, from the operators' page: the same actions as on the version's page."""

from __future__ import annotations

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods, require_POST

from training.models import TrainingVersion
from training.versions import lifecycle

PERMISSION = "training.change_trainingversion"


def training_urls() -> list[URLPattern]:
    return [
        path("<int:version_id>/stop/", admin.site.admin_view(stop_training), name="stop_training"),
        path("<int:version_id>/retry/", admin.site.admin_view(retry_training), name="retry_training"),
    ]


@require_http_methods(["GET", "POST"])
def stop_training(request: HttpRequest, version_id: int) -> HttpResponseBase:
    """Ask, then stop. A version that has ended meanwhile is not asked about."""
    version = _get_version(request, version_id)
    if request.method == "GET" and version.is_active:
        context = {**admin.site.each_context(request), "title": f"Stop {version}?", "version": version}
        return TemplateResponse(request, "admin/operators/confirm_stop.html", context)
    if request.method == "POST" and lifecycle.stop(version, by=request.user):  # type: ignore[arg-type]
        messages.success(request, f"Asked to stop: {version.project} {version}.")
    else:
        messages.info(
            request,
            f"Nothing changed: {version.project} {version} is {version.status}, or is already stopping.",
        )
    return _back()


@require_POST
def retry_training(request: HttpRequest, version_id: int) -> HttpResponseBase:
    version = _get_version(request, version_id)
    if lifecycle.retry(version, by=request.user):  # type: ignore[arg-type]
        messages.success(request, f"Queued again: {version.project} {version}.")
    else:
        messages.info(request, f"Nothing changed: {version.project} {version} is {version.status}.")
    return _back()


def _get_version(request: HttpRequest, version_id: int) -> TrainingVersion:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    versions = TrainingVersion.objects.alive().filter(project__deleted_at=None)
    return get_object_or_404(versions.select_related("project__team", "flavor"), pk=version_id)


def _back() -> HttpResponse:
    return redirect(reverse("admin:index") + "#trainings")
