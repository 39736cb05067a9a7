"""Import & Export: imports of archives, manifests and tables, the data source, exports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.display import count
from exeml_site.lib.http import page, redirect_to, wants_fragment
from projects import audit
from projects.access import PageRequest, project_page
from projects.formats.csv_text import write_csv
from projects.forms.import_review import ImportReviewForm
from projects.forms.transfers import DataSourceForm, ExportForm, ImportForm
from projects.images.query import Query, matching_ids
from projects.labels import actions
from projects.labels.parts import count_images
from projects.models import DataSource, Project, Role, Transfer
from projects.transfers import data_source, imports, upload_parts
from projects.transfers.export import ExportFormat
from projects.transfers.responses import export_response, project_file_response
from projects.transfers.summary import TransferSummary, vanished_images
from projects.views.label_data import moved_to_bin

PAGE, STATUS = "transfers/transfers.html", "transfers/_transfer.html"
MAX_RECENT = 20


@project_page(Role.VIEWER)
@require_safe
def transfers(request: PageRequest, project: Project) -> HttpResponse:
    return _page(request, project)


def _page(request: PageRequest, project: Project, status: int = 200, **more: Any) -> HttpResponse:
    source = DataSource.objects.filter(project=project).select_related("chosen_by").first()
    recent = Transfer.objects.filter(project=project).exclude(status=Transfer.Status.UPLOADING)
    query = Query.from_address(_filter_params(request))
    context = {
        "project": project,
        "can_label": request.membership.role >= Role.LABELER,
        "can_manage": _can_manage(request),
        "form": ImportForm(initial={"tests": request.GET.get("tests", "")}),
        "source": source,
        "source_form": DataSourceForm(initial={"address": source.address} if source else None),
        "source_roots": data_source.allowed_roots(),
        "export_form": ExportForm(),
        "exported": query.images(project, request.user).count(),
        "carried": list(_filter_params(request).items()),
        "is_filtered": query.is_filtered,
        "recent": [TransferSummary(transfer) for transfer in recent.select_related("by")[:MAX_RECENT]],
    }
    return page(request, PAGE, {**context, **more}, status=status)


def _can_manage(request: PageRequest) -> bool:
    return request.membership.role >= Role.MANAGER


# --- importing ---


@project_page(Role.LABELER)
@require_POST
def create_import(request: PageRequest, project: Project) -> HttpResponse:
    """Create an import. A plain form sends its files along; the page's script uploads them in parts later."""
    form, uploads = ImportForm(request.POST), request.FILES.getlist("uploads")
    if not form.is_valid():
        return _refused(request, project, form, str(next(iter(form.errors.values()))[0]))
    files = form.cleaned_data["file_list"] or [
        {"name": upload.name, "size": upload.size} for upload in uploads
    ]
    try:
        imports.check_role([file["name"] for file in files], request.membership.role)
        transfer = imports.create_import(project, files, form.options, request.user)
    except imports.ImportRefused as refusal:
        return _refused(request, project, form, str(refusal))
    if not uploads:
        return JsonResponse(_upload_state(transfer), status=201)
    imports.start_with(transfer, uploads)
    if _wants_json(request):
        return JsonResponse({"url": _address(transfer)}, status=201)
    return redirect_to(request, _address(transfer))


def _refused(request: PageRequest, project: Project, form: ImportForm, problem: str) -> HttpResponse:
    if _wants_json(request):
        return JsonResponse({"error": problem}, status=422)
    return _page(request, project, 422, form=form, problem=problem)


def _wants_json(request: HttpRequest) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def _upload_state(transfer: Transfer) -> dict[str, Any]:
    base = [transfer.project_id, transfer.pk]
    return {
        "part_bytes": upload_parts.PART_BYTES,
        "missing": upload_parts.missing_parts(transfer),
        "part_url": reverse("keep_part", args=[*base, 0, 0]),
        "begin_url": reverse("begin_import", args=base),
        "url": _address(transfer),
    }


def _address(transfer: Transfer) -> str:
    return reverse("transfer", args=[transfer.project_id, transfer.pk])


@project_page(Role.LABELER)
@require_POST
def keep_part(request: PageRequest, project: Project, transfer_id: int, file: int, part: int) -> HttpResponse:
    """Store one part of a file, the body of the request. Sending a part again replaces it."""
    transfer = get_object_or_404(Transfer, project=project, pk=transfer_id)
    if transfer.status != Transfer.Status.UPLOADING:
        return JsonResponse({"error": gettext("This upload has ended.")}, status=409)
    try:
        upload_parts.save_part(transfer, file, part, request.read(upload_parts.PART_BYTES + 1))
    except upload_parts.WrongPart as problem:
        return JsonResponse({"error": str(problem)}, status=422)
    return HttpResponse(status=204)


@project_page(Role.LABELER)
@require_POST
def begin_import(request: PageRequest, project: Project, transfer_id: int) -> HttpResponse:
    transfer = get_object_or_404(Transfer, project=project, pk=transfer_id)
    try:
        imports.start_import(transfer)
    except imports.ImportRefused as refusal:
        return JsonResponse({"error": str(refusal), **_upload_state(transfer)}, status=409)
    return JsonResponse({"url": _address(transfer)})


# --- one import ---


@project_page(Role.VIEWER)
@require_safe
def transfer(request: PageRequest, project: Project, transfer_id: int) -> HttpResponse:
    one = get_object_or_404(Transfer.objects.select_related("by"), project=project, pk=transfer_id)
    return _transfer_page(request, project, one)


def _transfer_page(
    request: PageRequest, project: Project, transfer: Transfer, status: int = 200, **more: Any
) -> HttpResponse:
    context = {
        "project": project,
        "summary": TransferSummary(transfer),
        "transfer": transfer,
        "vanished": vanished_images(transfer),
        "can_label": request.membership.role >= Role.LABELER,
        "review": _review(transfer),
        **more,
    }
    return page(request, "transfers/transfer.html", context, fragment=STATUS, status=status)


def _review(transfer: Transfer) -> ImportReviewForm | None:
    """What an import found that waits for a person to look at it."""
    if transfer.status != Transfer.Status.REVIEW:
        return None
    return ImportReviewForm(preview=transfer.report.get("preview", {}), options=transfer.options)


@project_page(Role.LABELER)
@require_POST
def cancel_import(request: PageRequest, project: Project, transfer_id: int) -> HttpResponse:
    transfer = get_object_or_404(Transfer, project=project, pk=transfer_id)
    imports.cancel_import(transfer)
    return _after_action(request, project, transfer_id)


@project_page(Role.LABELER)
@require_POST
def take_import_back(request: PageRequest, project: Project, transfer_id: int) -> HttpResponse:
    """Move the images that an ended import added to the bin, and undo its labels on other images."""
    transfer = get_object_or_404(Transfer, project=project, pk=transfer_id)
    try:
        moved = imports.undo_import(transfer, request.user)
    except imports.ImportRefused as refusal:
        return _transfer_page(request, project, transfer, 409, problem=str(refusal))
    sentence = ngettext(
        "%(count)s image moved to the bin; labels undone.",
        "%(count)s images moved to the bin; labels undone.",
        moved,
    )
    return _after_action(request, project, transfer_id, message=sentence % {"count": count(moved)})


@project_page(Role.LABELER)
@require_POST
def bin_vanished(request: PageRequest, project: Project, transfer_id: int) -> HttpResponse:
    """Move images whose file is not in the data source any more to the bin, on a user's request."""
    transfer = get_object_or_404(Transfer, project=project, pk=transfer_id)
    event = actions.delete_images(project, transfer.report.get("vanished", []), request.user)
    moved = count_images(event)
    return _after_action(request, project, transfer_id, message=moved_to_bin(moved))


def _after_action(request: PageRequest, project: Project, transfer_id: int, **more: Any) -> HttpResponse:
    transfer = Transfer.objects.select_related("by").get(pk=transfer_id)
    if not wants_fragment(request):
        return redirect_to(request, _address(transfer))
    return _transfer_page(request, project, transfer, **more)


@project_page(Role.VIEWER)
@require_safe
def refusals(request: PageRequest, project: Project, transfer_id: int) -> StreamingHttpResponse:
    """Every refused file and the reason, as CSV."""
    transfer = get_object_or_404(Transfer, project=project, pk=transfer_id)
    answer = StreamingHttpResponse(_refusal_rows(transfer), content_type="text/csv; charset=utf-8")
    file_name = f"import-{transfer.pk}-refused.csv"
    answer["Content-Disposition"] = f'attachment; filename="{file_name}"'
    audit.record_download(project, file_name)
    return answer


def _refusal_rows(transfer: Transfer) -> Iterator[bytes]:
    yield write_csv([["file", "reason"]])
    for row in transfer.rejected_files.values_list("name", "reason").iterator(chunk_size=2000):
        yield write_csv([row])


# --- the data source ---


@project_page(Role.MANAGER)
@require_POST
def choose_source(request: PageRequest, project: Project) -> HttpResponse:
    form = DataSourceForm(request.POST)
    if not form.is_valid():
        return _page(request, project, 422, source_form=form)
    cleaned = form.cleaned_data
    source = data_source.set_source(
        project, cleaned["address"], has_folder_labels=cleaned["has_folder_labels"], by=request.user
    )
    return redirect_to(request, _address(imports.synchronize(source, request.user)))


@project_page(Role.LABELER)
@require_POST
def synchronize_source(request: PageRequest, project: Project) -> HttpResponse:
    source = get_object_or_404(DataSource, project=project)
    try:
        data_source.check_address(source.address)
    except ValidationError as refusal:
        return _page(request, project, 409, problem=refusal.messages[0])
    return redirect_to(request, _address(imports.synchronize(source, request.user)))


# --- exporting ---


@project_page(Role.VIEWER)
@require_safe
def export(request: PageRequest, project: Project) -> HttpResponseBase:
    """The images that match a query of Label Data in the chosen format, streamed."""
    form = ExportForm(request.GET)
    if not form.is_valid():
        return _page(request, project, 422, export_form=form)
    ids = matching_ids(project, _filter_params(request), request.user)
    return export_response(project, ids, ExportFormat(form.cleaned_data["format"]))


@project_page(Role.MANAGER)
@require_safe
def download_project(request: PageRequest, project: Project) -> StreamingHttpResponse:
    """The whole project as one file."""
    return project_file_response(project)


def _filter_params(request: PageRequest) -> dict[str, str]:
    """The filters of Label Data in the query string; without any, all images."""
    params = {"tab": "all", **request.GET.dict()}
    params.pop("format", None)
    return {"tab": "all"} if params["tab"] == "bin" else params
