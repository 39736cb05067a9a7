"""The history of a project: who did what, and what can be undone."""

from __future__ import annotations

from datetime import datetime

from ninja import Field, Query, Router, Schema

from projects.api.core.access import ApiRequest, project_call
from projects.api.core.pages import Key, PageParams, page_of
from projects.labels.event_text import describe_event
from projects.labels.history import actions_of
from projects.labels.parts import count_images, read_image_counts
from projects.models import LabelEvent, Project, Role, Scope

router = Router(tags=["Annotations"])


class ActionOfHistoryOut(Schema):
    """An action on labels or images, in words and in numbers."""

    id: int
    kind: LabelEvent.Kind
    text: str
    by: str | None
    at: datetime
    image_count: int
    undoes_id: int | None
    undone_by_id: int | None

    @classmethod
    def of(cls, event: LabelEvent) -> ActionOfHistoryOut:
        undone_by = getattr(event, "undone_by", None)
        return cls(
            id=event.pk,
            kind=LabelEvent.Kind(event.kind),
            text=describe_event(event),
            by=event.by.get_username() if event.by else None,
            at=event.at,
            image_count=count_images(event),
            undoes_id=event.undoes_id,
            undone_by_id=undone_by and undone_by.pk,
        )


class HistoryPage(Schema):
    items: list[ActionOfHistoryOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


@router.get("/projects/{int:project_id}/history", response=HistoryPage)
@project_call(Role.VIEWER, Scope.READ)
def list_history(
    request: ApiRequest,
    project: Project,
    params: Query[PageParams],
    by: Key | None = None,
    kind: LabelEvent.Kind | None = None,
) -> HistoryPage:
    """The actions of a project, the newest first. `by`: id of the person."""
    events, cursor = page_of(actions_of(project, by, kind or ""), params)
    read_image_counts(project, events)
    return HistoryPage(items=[ActionOfHistoryOut.of(event) for event in events], next=cursor)
