"""Batch prediction: thousands of images predicted by a worker, and the results as files."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from exeml_site.lib.display import count
from exeml_site.lib.http import page, redirect_to
from projects.access import PageRequest, project_page
from projects.models import Project, Role
from projects.transfers import data_source
from training.evaluation.confusion_matrix import build_matrix
from training.models import Batch, Service
from training.serving.batches import job, results
from training.serving.batches.judgement import Judgement
from training.views.services import get_service

MAX_BATCHES, MAX_FAILURES = 20, 100


@project_page(Role.VIEWER)
@require_safe
@never_cache
def service_batches(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """The batches of a service; the list polls while one is active."""
    return _batches_page(request, project, get_service(project, service_id))


@project_page(Role.LABELER)
@require_POST
def begin_batch(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """Start a batch from a zip archive, a manifest or table, both, a folder of the server, or images."""
    service = get_service(project, service_id)
    limit = settings.EXEML_MAX_IMPORT_GB
    uploads, address = request.FILES.getlist("uploads"), request.POST.get("address", "").strip()
    selection = request.POST.get("selection", "")
    chosen = {"address": address, "selection": selection}
    if sum(upload.size or 0 for upload in uploads) > limit * 1024**3:
        text = gettext("The files are larger than %(limit)s GB. Send them in parts.")
        problem = text % {"limit": count(limit)}
        return _batches_page(request, project, service, problem=problem, status=413, **chosen)
    try:
        job.create_batch(service, uploads, address, request.user, selection)
    except job.BatchRefused as refused:
        return _batches_page(request, project, service, problem=str(refused), status=422, **chosen)
    return redirect_to(request, reverse("service_batches", args=[project.pk, service.pk]))


@project_page(Role.LABELER)
@require_http_methods(["GET", "POST"])
def cancel_batch(request: PageRequest, project: Project, service_id: UUID, batch_id: int) -> HttpResponse:
    """Cancel an active batch, or delete a finished one (`delete=1`); GET asks before that."""
    service = get_service(project, service_id)
    batch = _get_batch(service, batch_id)
    if request.method == "GET":
        question = "batches/_delete.html"
        context = {"project": project, "service": service, "batch": batch, "question": question}
        return page(request, "services/question.html", context | {"tab": "batch"}, fragment=question)
    if request.POST.get("delete") == "1":
        job.delete(batch)
    else:
        job.cancel(batch)  # one that ended meanwhile keeps its results
    return redirect_to(request, reverse("service_batches", args=[project.pk, service.pk]))


@project_page(Role.VIEWER)
@require_safe
def batch_report(request: PageRequest, project: Project, service_id: UUID, batch_id: int) -> HttpResponse:
    """How many answers are right where labels are known, the mistakes, and the images without an answer."""
    service = get_service(project, service_id)
    batch = _get_batch(service, batch_id)
    try:
        failures = results.first_failures(batch, MAX_FAILURES)
    except OSError:
        failures = []
    context = {"project": project, "service": service, "tab": "batch", "batch": batch, "failures": failures}
    if batch.judgement:
        judgement = Judgement.of_json(batch.judgement)
        context |= {"judgement": judgement, "matrix": build_matrix(judgement.confusion)}
    return page(request, "batches/batch_report.html", context)


@project_page(Role.VIEWER)
@require_safe
@cache_control(private=True, max_age=86_400, immutable=True)
def batch_picture(
    request: PageRequest, project: Project, service_id: UUID, batch_id: int, line: int
) -> HttpResponse:
    """The thumbnail of the mistake in a line of the results."""
    batch = _get_batch(get_service(project, service_id), batch_id)
    try:
        content = results.mistake_picture(batch, line)
    except FileNotFoundError as problem:
        raise Http404 from problem
    return HttpResponse(content, content_type="image/webp")


@project_page(Role.VIEWER)
@require_safe
def batch_download(
    request: PageRequest, project: Project, service_id: UUID, batch_id: int, file: str
) -> StreamingHttpResponse:
    """Download results.csv, results.zip with ExeML's result manifest, or report.json."""
    batch = _get_batch(get_service(project, service_id), batch_id)
    try:
        download = results.download(batch, file)
    except FileNotFoundError as problem:
        raise Http404 from problem
    return StreamingHttpResponse(download.content, download.content_type, headers=download.headers)


def _get_batch(service: Service, batch_id: int) -> Batch:
    batches = Batch.objects.filter(service=service).select_related("created_by", "training_version")
    return get_object_or_404(batches, pk=batch_id)


def _batches_page(
    request: PageRequest,
    project: Project,
    service: Service,
    *,
    problem: str = "",
    address: str = "",
    selection: str = "",
    status: int = 200,
) -> HttpResponse:
    batches = list(
        Batch.objects.filter(service=service).select_related("created_by", "training_version")[:MAX_BATCHES]
    )
    context = {
        "project": project,
        "service": service,
        "tab": "batch",
        "batches": batches,
        "is_any_active": any(batch.is_active for batch in batches),
        "can_label": request.membership.role >= Role.LABELER,
        "source_roots": data_source.allowed_roots(),
        "selections": Batch.Selection.choices,
        "problem": problem,
        "address": address,
        "selection": selection,
    }
    fragment = None if problem else "batches/_batches.html"
    return page(request, "batches/batches.html", context, fragment=fragment, status=status)
