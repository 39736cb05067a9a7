"""What an upload of images brings and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from ninja import Field, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest
from projects.api.core.body import check_form
from projects.api.core.uploads import MAX_FILES
from projects.formats.manifest import EntryLabel
from projects.forms.label_data import UploadImagesForm
from projects.images.upload import Outcome, add_images
from projects.labels import bulk_import
from projects.models import Project

# Of an image that was restored from the bin, too: its reason says so.
STATUSES = {"added": "stored", "restored": "stored", "duplicate": "duplicate", "refused": "refused"}
UPLOAD_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "minItems": 1,
                            "maxItems": MAX_FILES,
                        },
                        "label": {
                            "type": "array",
                            "items": {"type": "string"},
                            "description": "A label of all images; may be repeated.",
                        },
                        "folders": {
                            "type": "string",
                            "enum": ["yes", "no"],
                            "description": "yes: the first folder in the name of a file is its label.",
                        },
                    },
                },
                "encoding": {"files": {"contentType": "image/*"}},
            }
        },
    }
}


class UploadedFileOut(Schema):
    """What became of one file, in the order of the files."""

    name: str
    status: str = Field(description="stored, duplicate or refused.")
    image_id: int | None = Field(description="Of a duplicate: the image that has the same bytes.")
    sha256: str | None
    reason: str = Field(description="A sentence; empty where nothing is to be said.")

    @classmethod
    def of(cls, outcome: Outcome, label_problem: str) -> UploadedFileOut:
        image = outcome.image
        return cls(
            name=outcome.name,
            status=STATUSES[outcome.status],
            image_id=image.pk if image else None,
            sha256=image.sha256 if image else None,
            reason=" ".join(filter(None, [outcome.reason, label_problem])),
        )


class UploadOut(Schema):
    items: list[UploadedFileOut]
    labeled_count: int = Field(description="Images that got labels. Others had labels, and keep them.")


def store_files(request: ApiRequest, project: Project) -> UploadOut:
    """Add the files of the form, and label the images as the form says. Raises Problem."""
    check_form(request, ("label", "folders"), "files")
    files = request.FILES.getlist("files")
    form = UploadImagesForm(request.POST, project=project)
    if not form.is_valid():
        raise problems.of_form(form)
    if not files:
        raise problems.invalid_field("files", gettext("The request contains no file."))
    names, by_folder = form.cleaned_data["label"], form.cleaned_data["folders"] == "yes"
    outcomes = add_images(project, files, request.user)
    requested = _requested(files, outcomes, names, by_folder=by_folder)
    try:
        given, label_problems = bulk_import.label_uploads(project, requested, request.user)
    except ValidationError as error:  # more labels than a project can have
        label_problems = dict.fromkeys(requested, error.messages[0])
        return _answer(outcomes, label_problems, 0)
    return _answer(outcomes, label_problems, given.labeled)


def _answer(outcomes: Sequence[Outcome], label_problems: Mapping[int, str], labeled: int) -> UploadOut:
    def problem_of(outcome: Outcome) -> str:
        return label_problems.get(outcome.image.pk, "") if outcome.image else ""

    items = [UploadedFileOut.of(outcome, problem_of(outcome)) for outcome in outcomes]
    return UploadOut(items=items, labeled_count=labeled)


def _requested(
    files: Sequence[Any], outcomes: Sequence[Outcome], names: list[str], *, by_folder: bool
) -> dict[int, list[EntryLabel]]:
    """Image id → labels. A picture that was sent twice has those of both."""
    requested: dict[int, dict[str, EntryLabel]] = {}
    for file, outcome in zip(files, outcomes, strict=True):
        folders = file.path.strip("/").split("/")[:-1] if by_folder else []
        labels = [*names, *folders[:1]]
        if outcome.image and labels:
            requested.setdefault(outcome.image.pk, {}).update(
                {name: EntryLabel(name, annotated_by="") for name in labels}
            )
    return {pk: list(labels.values()) for pk, labels in requested.items()}
