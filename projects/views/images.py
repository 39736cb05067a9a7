"""Uploading, showing, deleting and restoring images."""

from __future__ import annotations

import re
from dataclasses import asdict

from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.display import count
from exeml_site.lib.http import page
from projects.access import PageRequest, project_page
from projects.formats.splits.split_folders import FolderTree
from projects.forms.label_data import ImagesForm, UploadFoldersForm, UploadLabelsForm
from projects.images.decode import ImageRefused
from projects.images.responses import shown_response, stored_thumbnail_response, thumbnail_response
from projects.images.similarity import nearest_labeled
from projects.images.upload import Outcome, add_images
from projects.labels import actions, bulk_import
from projects.labels.parts import count_images
from projects.models import Image, Project, Role
from projects.quality import hard_examples
from projects.transfers.file_sources import is_user_file
from projects.views.label_data import (
    Notice,
    first_error,
    matching_images,
    moved_to_bin,
    refreshed_page,
    refused_page,
)
from projects.views.metadata import image_values

# HTTP status of each file's outcome: one request carries several files.
STATUS_CODES = {"added": 201, "restored": 200, "duplicate": 409, "refused": 422}
NEIGHBOUR_COUNT = 5
SHA256 = re.compile(r"[0-9a-f]{64}")


@project_page(Role.LABELER)
@require_POST
def upload_images(request: PageRequest, project: Project) -> HttpResponse:
    """Upload files. Answers each file's outcome, as JSON for the page's script or as a page."""
    outcomes = add_images(project, request.FILES.getlist("files"), request.user)
    if "application/json" in request.headers.get("Accept", ""):
        if not outcomes:
            return JsonResponse(
                {"outcomes": [], "error": gettext("The request contains no file.")}, status=422
            )
        return JsonResponse({"outcomes": [_as_json(outcome) for outcome in outcomes]})
    context = {"project": project, "outcomes": outcomes}
    return page(request, "label_data/upload.html", context, status=200 if outcomes else 422)


@project_page(Role.LABELER)
@require_POST
def label_uploads(request: PageRequest, project: Project) -> HttpResponse:
    """Apply the labels chosen during an upload: from folders, from text files, or one for all images.

    Existing labels are kept. Splits come from the folders.
    """
    form = UploadLabelsForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"error": first_error(form)}, status=422)
    try:
        given, problems = bulk_import.label_uploads(project, form.cleaned_data["marks"], request.user)
    except ValidationError as error:  # more labels than a project can have
        return JsonResponse({"error": error.messages[0]}, status=422)
    bulk_import.import_splits(project, form.cleaned_data["splits"])
    return JsonResponse({"labeled": given.labeled, "kept": len(given.kept), "problems": problems})


@project_page(Role.LABELER)
@require_POST
def place_folders(request: PageRequest, project: Project) -> HttpResponse:
    """What the folders of an upload say, as for an archive: label, split, and whether a system made them."""
    form = UploadFoldersForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"error": first_error(form)}, status=422)
    wanted = [folder for folder in form.cleaned_data["folders"] if is_user_file(folder)]
    tree = FolderTree(f"{folder}/" for folder in wanted)
    return JsonResponse({"folders": {folder: asdict(tree.place(f"{folder}/")) for folder in wanted}})


def _as_json(outcome: Outcome) -> dict[str, object]:
    return {
        "name": outcome.name,
        "status": outcome.status,
        "reason": outcome.reason,
        "code": STATUS_CODES[outcome.status],
        "image": outcome.image.pk if outcome.image else None,
    }


@project_page(Role.VIEWER)
@require_safe
def image_file(request: PageRequest, project: Project, image_id: int) -> HttpResponseBase:
    """The picture in full size: the uploaded file, or a rendition where browsers would show it otherwise."""
    image = get_object_or_404(Image, pk=image_id, project=project)
    try:
        return shown_response(image)
    except FileNotFoundError:
        raise Http404 from None


@project_page(Role.VIEWER)
@require_safe
def image_thumbnail(request: PageRequest, project: Project, sha256: str) -> HttpResponseBase:
    """The thumbnail. Its URL identifies the file, so no row is read where the thumbnail is there already."""
    if not SHA256.fullmatch(sha256):
        raise Http404
    if response := stored_thumbnail_response(Image(project=project, sha256=sha256)):
        return response
    try:
        return thumbnail_response(get_object_or_404(Image, project=project, sha256=sha256))
    except (ImageRefused, OSError) as problem:
        raise Http404 from problem


@project_page(Role.VIEWER)
@require_safe
def image_neighbours(request: PageRequest, project: Project, image_id: int) -> HttpResponse:
    """The most similar labeled images: they show why a label is suggested or doubted."""
    image = get_object_or_404(Image.objects.select_related("project"), pk=image_id, project=project)
    context = {"project": project, "image": image, "neighbours": nearest_labeled(image, NEIGHBOUR_COUNT)}
    context["values"] = image_values(image)
    context["hard"] = hard_examples.describe_reasons(image.hard_reasons)
    return page(request, "label_data/_similar_images.html", context)


@project_page(Role.LABELER)
@require_POST
def delete_images(request: PageRequest, project: Project) -> HttpResponse:
    form = ImagesForm(request.POST, matching_ids=matching_images(request, project))
    if not form.is_valid():
        return refused_page(request, project, first_error(form))
    event = actions.delete_images(project, form.cleaned_data["images"], request.user)
    message = moved_to_bin(count_images(event)) if event else gettext("They are already in the bin.")
    return refreshed_page(request, project, Notice(message, event))


@project_page(Role.LABELER)
@require_POST
def restore_images(request: PageRequest, project: Project) -> HttpResponse:
    form = ImagesForm(request.POST, matching_ids=matching_images(request, project))
    if not form.is_valid():
        return refused_page(request, project, first_error(form))
    event = actions.restore_images(project, form.cleaned_data["images"], request.user)
    message = gettext("They are already restored.")
    if event:
        restored = count_images(event)
        sentence = ngettext("%(count)s image restored.", "%(count)s images restored.", restored)
        message = sentence % {"count": count(restored)}
    return refreshed_page(request, project, Notice(message, event))
