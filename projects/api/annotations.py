"""Annotations in bulk: labels of many images in one action, and its undo."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from ninja import Field, Router

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.idempotency import once
from projects.api.core.image_selection import ImageSelection, selected
from projects.api.core.pages import Key
from projects.api.images import ActionOut
from projects.formats.manifest import EntryLabel
from projects.forms.label_data import LabelImagesForm
from projects.labels import actions
from projects.labels.bulk_import import labels_problem
from projects.models import LabelEvent, Project, Role, Scope

router = Router(tags=["Annotations"])

MAX_ENTRIES = 10_000
MAX_PROBLEMS = 100  # that one answer names


class ImageLabelsIn(Body):
    """The labels of one image, by their names in any case."""

    image_id: Key
    labels: list[str]


class AnnotationsIn(ImageSelection):
    """Either `image_ids` or `filter` with `add` and `remove`, or `annotations`."""

    add: list[str] = Field([], description="Names of labels; those that are missing are created.")
    remove: list[str] = Field([], description="Names of labels.")
    annotations: list[ImageLabelsIn] | None = Field(None, min_length=1, max_length=MAX_ENTRIES)
    replaces: bool = Field(
        False, description="With `annotations`: the images lose the labels that are not named."
    )


class EventIn(Body):
    event_id: Key | None = Field(None, description="The action; null for your own last one.")


class UndoOut(ActionOut):
    skipped_count: int = Field(description="Images that were changed since, and stay as they are.")

    @classmethod
    def of_result(cls, result: actions.UndoResult) -> UndoOut:
        return cls(event_id=result.event.pk, changed_count=result.restored, skipped_count=result.skipped)


@router.post("/projects/{int:project_id}/annotations", response=ActionOut)
@project_call(Role.LABELER, Scope.LABEL)
@once
def annotate(request: ApiRequest, project: Project, body: AnnotationsIn) -> ActionOut:
    """Label images, in one action that can be undone as a whole.

    In a project with one label per image the added label replaces the present one. Images in the bin, and
    those of other projects, are skipped. With `annotations` each image has labels of its own.
    """
    event = _annotate_each(request, project, body) if body.annotations else _annotate(request, project, body)
    return ActionOut.of(event)


def _annotate(request: ApiRequest, project: Project, body: AnnotationsIn) -> LabelEvent | None:
    values = {"add": body.add, "remove": body.remove}
    cleaned = selected(partial(LabelImagesForm, project=project), request, project, body, values)
    try:
        return actions.apply(
            project, cleaned["images"], add=cleaned["add"], remove=cleaned["remove"], by=request.user
        )
    except ValidationError as error:  # more labels than a project can have
        raise problems.invalid_field("add", error.messages[0]) from error


def _annotate_each(request: ApiRequest, project: Project, body: AnnotationsIn) -> LabelEvent | None:
    entries = body.annotations or []
    if body.image_ids is not None or body.filter is not None or body.add or body.remove:
        message = "Send annotations alone, without image_ids, filter, add and remove."
        raise problems.invalid_field("annotations", message)
    if found := _problems(project, entries):
        raise problems.invalid(found[:MAX_PROBLEMS])
    labels_of_images = {entry.image_id: entry.labels for entry in entries}
    try:
        return actions.annotate(project, labels_of_images, by=request.user, replaces=body.replaces)
    except ValidationError as error:  # more labels than a project can have
        raise problems.invalid_field("annotations", error.messages[0]) from error


def _problems(project: Project, entries: Sequence[ImageLabelsIn]) -> list[dict[str, str]]:
    found, known, seen = [], dict[tuple[str, ...], str](), set[int]()
    for number, entry in enumerate(entries):
        names = tuple(entry.labels)
        if names not in known:
            known[names] = labels_problem(project, [EntryLabel(name) for name in names])
        if known[names]:
            found.append({"field": f"annotations.{number}.labels", "message": known[names]})
        if entry.image_id in seen:
            message = "The image has an entry before this one."
            found.append({"field": f"annotations.{number}.image_id", "message": message})
        seen.add(entry.image_id)
    return found


@router.post("/projects/{int:project_id}/annotations/undo", response=UndoOut)
@project_call(Role.LABELER, Scope.LABEL)
def undo_action(request: ApiRequest, project: Project, body: EventIn) -> UndoOut:
    """Undo an action of the history on all images that nobody changed since."""
    event = _event(project, body) or actions.last_action(project, request.user)
    if event is None:
        raise problems.Problem(409, "conflict", "Not possible now", gettext("You have nothing to undo."))
    return UndoOut.of_result(actions.undo(event, request.user))


@router.post("/projects/{int:project_id}/annotations/redo", response=UndoOut)
@project_call(Role.LABELER, Scope.LABEL)
def redo_action(request: ApiRequest, project: Project, body: EventIn) -> UndoOut:
    """Redo an action: `event_id` is that of its undo."""
    event = _event(project, body) or actions.last_undo(project, request.user)
    if event is None:
        raise problems.Problem(409, "conflict", "Not possible now", gettext("You have nothing to redo."))
    return UndoOut.of_result(actions.redo(event, request.user))


def _event(project: Project, body: EventIn) -> LabelEvent | None:
    """The event that the call names; None where it names none. Raises Problem."""
    if body.event_id is None:
        return None
    event = LabelEvent.objects.filter(project=project, pk=body.event_id).first()
    if event is None:
        raise problems.invalid_field("event_id", "There is no such action in this project.")
    event.project = project
    return event
