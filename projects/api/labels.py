"""Labels of a project: create, rename, colour and hot key, merge, delete."""

from __future__ import annotations

from typing import Literal

from django.core.exceptions import ValidationError
from django.db import transaction
from ninja import Field, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.idempotency import once
from projects.api.core.pages import Key
from projects.api.images import ActionOut
from projects.forms.label_data import LabelForm
from projects.forms.labels import LabelLookForm, MergeForm
from projects.images import bin
from projects.labels import actions
from projects.labels.counts import images_per_label
from projects.models import Label, Project, Role, Scope

router = Router(tags=["Labels"])


class ProjectLabelOut(Schema):
    id: int
    name: str
    colour: int = Field(description="0 to 9, the colours of the pages.")
    hot_key: str = Field(description="The key that gives this label on Label Data; may be empty.")
    image_count: int

    @classmethod
    def of(cls, label: Label, image_count: int) -> ProjectLabelOut:
        return cls(
            id=label.pk,
            name=label.name,
            colour=label.colour,
            hot_key=label.hot_key,
            image_count=image_count,
        )


class LabelList(Schema):
    items: list[ProjectLabelOut]


class LabelCreation(Body):
    name: str


class LabelPatch(Body):
    """What stays is left out. `swap`: the label that has the hot key gets the former one of this label."""

    name: str | None = None
    colour: int | None = None
    hot_key: str | None = None
    swap: bool = False


class LabelMerge(Body):
    into: Key = Field(description="Id of the label that the images get instead.")


class LabelDeletionOut(ActionOut):
    purged_count: int = Field(description="Images that were deleted for good, with their files.")


def find_label(project: Project, label_id: int) -> Label:
    """The label of this project. Raises Problem (404)."""
    label = Label.objects.filter(project=project, pk=label_id).first()
    if label is None:
        raise problems.not_found()
    label.project = project
    return label


@router.get("/projects/{int:project_id}/labels", response=LabelList)
@project_call(Role.VIEWER, Scope.READ)
def list_labels(request: ApiRequest, project: Project) -> LabelList:
    """All labels of a project in the order of All Labels. There are at most 2,000."""
    counts = images_per_label(project)
    labels = Label.objects.filter(project=project)
    return LabelList(items=[ProjectLabelOut.of(label, counts[label.pk]) for label in labels])


@router.post("/projects/{int:project_id}/labels", response=ProjectLabelOut)
@project_call(Role.LABELER, Scope.LABEL)
@once
def create_label(request: ApiRequest, project: Project, body: LabelCreation) -> ProjectLabelOut:
    """Create a label without images. Labels that images get need no creation before."""
    form = LabelForm({"name": body.name}, project=project)
    if not form.is_valid():
        raise problems.of_form(form)
    [label] = actions.ensure_labels(project, [form.cleaned_data["name"]])
    return _label_out(label)


@router.get("/projects/{int:project_id}/labels/{int:label_id}", response=ProjectLabelOut)
@project_call(Role.VIEWER, Scope.READ)
def show_label(request: ApiRequest, project: Project, label_id: int) -> ProjectLabelOut:
    """One label with the number of its images."""
    return _label_out(find_label(project, label_id))


@router.patch("/projects/{int:project_id}/labels/{int:label_id}", response=ProjectLabelOut)
@project_call(Role.LABELER, Scope.LABEL)
def change_label(request: ApiRequest, project: Project, label_id: int, body: LabelPatch) -> ProjectLabelOut:
    """Rename a label, or change its colour and hot key."""
    label = find_label(project, label_id)
    with transaction.atomic():
        if body.name is not None:
            _rename(request, label, body.name)
        if body.colour is not None or body.hot_key is not None:
            _change_look(request, label, body)
    return _label_out(find_label(project, label_id))


def _rename(request: ApiRequest, label: Label, name: str) -> None:
    form = LabelForm({"name": name}, project=label.project, label=label)
    if not form.is_valid():
        raise problems.of_form(form)
    try:
        actions.rename_label(label, form.cleaned_data["name"], request.user)
    except ValidationError as error:  # another user took the name meanwhile
        raise problems.invalid_field("name", error.messages[0]) from error


def _change_look(request: ApiRequest, label: Label, body: LabelPatch) -> None:
    data = {
        "colour": label.colour if body.colour is None else body.colour,
        "hot_key": label.hot_key if body.hot_key is None else body.hot_key,
        "swap": body.swap,
    }
    form = LabelLookForm(data, project=label.project, label=label)
    if not form.is_valid():
        raise problems.of_form(form)
    try:
        actions.edit_label(label, request.user, **form.cleaned_data)
    except ValidationError as error:  # another user took the key meanwhile
        raise problems.invalid_field("hot_key", error.messages[0]) from error


@router.delete("/projects/{int:project_id}/labels/{int:label_id}", response=LabelDeletionOut)
@project_call(Role.LABELER, Scope.LABEL)
def delete_label(
    request: ApiRequest,
    project: Project,
    label_id: int,
    mode: Literal["label", "images", "files"] = "label",
) -> LabelDeletionOut:
    """Delete a label. `mode`: what happens to images that have no other label.

    `label` keeps them unlabeled, `images` moves them to the bin, and `files`, for Managers, deletes them with
    their files for good: that cannot be undone.
    """
    label = find_label(project, label_id)
    deleted = bin.delete_label(label, mode, request.user, request.membership.role)
    undoable = deleted.event.pk if deleted.event and mode != "files" else None
    return LabelDeletionOut(event_id=undoable, changed_count=deleted.changed, purged_count=deleted.purged)


@router.post("/projects/{int:project_id}/labels/{int:label_id}/merge", response=ActionOut)
@project_call(Role.LABELER, Scope.LABEL)
def merge_label(request: ApiRequest, project: Project, label_id: int, body: LabelMerge) -> ActionOut:
    """Label all images of a label with another one instead, and delete it."""
    label = find_label(project, label_id)
    form = MergeForm({"into": body.into}, project=project, label=label)
    if not form.is_valid():
        raise problems.of_form(form)
    try:
        event = actions.merge_labels(label, form.cleaned_data["into"], request.user)
    except ValidationError as error:
        raise problems.invalid_field("into", error.messages[0]) from error
    return ActionOut.of(event)


def _label_out(label: Label) -> ProjectLabelOut:
    return ProjectLabelOut.of(label, images_per_label(label.project)[label.pk])
