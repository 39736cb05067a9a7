"""Predictions of a service with an access token, and the calls that it keeps: feedback, review."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpResponse, JsonResponse
from django.utils.dateparse import parse_datetime
from ninja import Field, Query, Router, Schema

from exeml_site.lib.outages.database import release_connection
from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.downloads import file_answer
from projects.api.core.idempotency import once
from projects.api.core.pages import PageParams, decode_cursor, encode_cursor
from projects.api.core.problems import Problem
from projects.images.decode import ImageRefused
from projects.models import Project, Role, Scope
from training.api.services import SERVICE, get_service
from training.models import CollectedCall
from training.serving.answer import CallFailed
from training.serving.call_request import ApiError, answer_call
from training.serving.calls import feedback, limits
from training.serving.openapi import images_body, one_or_several

router = Router(tags=["Services"])
COLLECTED = SERVICE + "/collected"
CALL = COLLECTED + "/{uuid:call_id}"
TITLES = {429: "Too many calls", 503: "Not possible now"}


class Verdict(Body):
    request_id: UUID = Field(description="Of an answer with `is_collected` true.")
    is_right: bool
    correct_labels: list[str] = Field([], description="Where the answer was wrong and they are known.")


class VerdictOut(Schema):
    request_id: UUID
    is_right: bool
    correct_labels: list[str]


class CollectedCallOut(Schema):
    """An image that a service kept with its answer."""

    id: UUID = Field(description="The `request_id` of the answer.")
    at: datetime
    version_number: int
    predicted_labels: list[str]
    scores: dict[str, float] = Field(description="Of the five best labels, the highest first.")
    confidence: float
    is_known: bool | None
    answer_settings: dict[str, Any] = Field(description="By which it was answered; empty: the model's own.")
    verdict: CollectedCall.Verdict | None
    correct_labels: list[str]
    feedback_by: str
    feedback_at: datetime | None
    image_id: int | None = Field(description="The image of Label Data, once it is added.")
    dismissed_at: datetime | None

    @classmethod
    def of(cls, call: CollectedCall) -> CollectedCallOut:
        same = ("at", "confidence", "is_known", "answer_settings", "feedback_by", "feedback_at")
        return cls(
            id=call.pk,
            version_number=call.training_version.number,
            predicted_labels=call.predicted,
            scores=dict(call.scores),
            verdict=CollectedCall.Verdict(call.verdict) if call.verdict else None,
            correct_labels=call.true_labels,
            image_id=call.image_id,
            dismissed_at=call.dismissed_at,
            **{name: getattr(call, name) for name in same},
        )


class CollectedCallPage(Schema):
    items: list[CollectedCallOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class CollectedCallChoice(Body):
    call_ids: list[UUID] = Field(min_length=1, max_length=feedback.MAX_ADDED)


class AddedCalls(Schema):
    added_count: int
    known_count: int = Field(description="Images that the project had before.")
    refused_count: int


class DismissedCalls(Schema):
    dismissed_count: int


# --- Predictions and feedback ---


@router.post(
    SERVICE + "/predict",
    openapi_extra={"requestBody": images_body(), "responses": {200: one_or_several("Infer")}},
)
@project_call(Role.VIEWER, Scope.DEPLOY)
def predict(request: ApiRequest, project: Project, service_id: UUID) -> JsonResponse:
    """Labels of one image, or of several. The answer is that of `/v1/infers`, and counts as a call."""
    service = get_service(project, service_id)
    try:
        with limits.call_limit.passing():
            release_connection()  # calls wait for their bodies and their turn
            answer: dict[str, Any] = answer_call(request, service)
    except limits.Overloaded as error:
        raise _too_many_calls() from error
    except CallFailed as failed:
        raise _problem_of(ApiError.of(failed)) from failed
    return JsonResponse(answer)


@router.post(SERVICE + "/feedback", response=VerdictOut)
@project_call(Role.LABELER, Scope.DEPLOY)
def give_feedback(request: ApiRequest, project: Project, service_id: UUID, body: Verdict) -> VerdictOut:
    """Whether an answer was right. The last verdict on it counts."""
    call = _get_call(project, service_id, body.request_id)
    try:
        by = request.user.get_username()
        feedback.record_verdict(call, body.is_right, body.correct_labels, by=by)
    except feedback.FeedbackRefused as refused:
        raise problems.invalid_field("correct_labels", refused) from refused
    call.refresh_from_db()
    return VerdictOut(request_id=call.pk, is_right=body.is_right, correct_labels=call.true_labels)


# --- Review of collected calls ---


@router.get(COLLECTED, response=CollectedCallPage)
@project_call(Role.VIEWER, Scope.READ)
def list_collected_calls(
    request: ApiRequest, project: Project, service_id: UUID, params: Query[PageParams]
) -> CollectedCallPage:
    """The calls to review: neither added to Label Data nor dismissed.

    Wrong answers come first, then unknown images, right answers last; in each group the lowest confidence
    is first.
    """
    calls: QuerySet[Any] = feedback.calls_to_review(get_service(project, service_id))  # with `priority`
    calls = calls.select_related("training_version")
    if params.cursor:
        calls = calls.filter(_beyond(params.cursor))
    chosen = list(calls.order_by("priority", "confidence", "-at", "pk")[: params.limit + 1])
    rows, cursor = chosen[: params.limit], None
    if len(chosen) > params.limit:
        last: Any = rows[-1]
        cursor = encode_cursor([last.priority, last.confidence, last.at.isoformat(), str(last.pk)])
    return CollectedCallPage(items=[CollectedCallOut.of(row) for row in rows], next=cursor)


@router.post(COLLECTED + "/add", response=AddedCalls)
@project_call(Role.LABELER, Scope.LABEL)
@once
def add_collected_calls(
    request: ApiRequest, project: Project, service_id: UUID, body: CollectedCallChoice
) -> AddedCalls:
    """Add images of calls to Label Data, those with a verdict with its labels."""
    counts = feedback.add_to_project(get_service(project, service_id), body.call_ids, request.user)
    return AddedCalls(**{f"{name}_count": number for name, number in counts.items()})


@router.post(COLLECTED + "/dismiss", response=DismissedCalls)
@project_call(Role.LABELER, Scope.LABEL)
def dismiss_collected_calls(
    request: ApiRequest, project: Project, service_id: UUID, body: CollectedCallChoice
) -> DismissedCalls:
    """Leave calls out of the review. They are deleted when the service's days are over."""
    service = get_service(project, service_id)
    return DismissedCalls(dismissed_count=feedback.dismiss_calls(service, body.call_ids))


@router.get(CALL, response=CollectedCallOut)
@project_call(Role.VIEWER, Scope.READ)
def show_collected_call(
    request: ApiRequest, project: Project, service_id: UUID, call_id: UUID
) -> CollectedCallOut:
    """One call, also an added or a dismissed one."""
    return CollectedCallOut.of(_get_call(project, service_id, call_id))


@router.get(CALL + "/file", openapi_extra=file_answer("application/octet-stream"))
@project_call(Role.VIEWER, Scope.READ)
def show_collected_file(
    request: ApiRequest, project: Project, service_id: UUID, call_id: UUID
) -> HttpResponse:
    """The image as it was sent, byte by byte."""
    return _picture(project, service_id, call_id, feedback.content_of, "application/octet-stream")


@router.get(CALL + "/thumbnail", openapi_extra=file_answer("image/webp"))
@project_call(Role.VIEWER, Scope.READ)
def show_collected_thumbnail(
    request: ApiRequest, project: Project, service_id: UUID, call_id: UUID
) -> HttpResponse:
    """The thumbnail of the image, as WebP."""
    return _picture(project, service_id, call_id, feedback.thumbnail_of, "image/webp")


# --- Helpers ---


def _get_call(project: Project, service_id: UUID, call_id: UUID) -> CollectedCall:
    """Raises Problem (404)."""
    call = feedback.find_call(get_service(project, service_id), call_id)
    if call is None:
        raise problems.not_found("This service keeps no such request.")
    return call


def _picture(
    project: Project,
    service_id: UUID,
    call_id: UUID,
    read: Callable[[CollectedCall], bytes],
    content_type: str,
) -> HttpResponse:
    """Raises Problem (404)."""
    try:
        content = read(_get_call(project, service_id, call_id))
    except (ImageRefused, OSError) as error:
        raise problems.not_found() from error
    return HttpResponse(content, content_type=content_type)


def _beyond(cursor: str) -> Q:
    """The calls of the next page. Raises Problem (422)."""
    match decode_cursor(cursor):
        case [int(priority), int() | float() as confidence, str(text), str(key)]:
            try:
                at, pk = parse_datetime(text), UUID(key)
            except ValueError:
                at = None
            if at is not None and at.tzinfo is not None and 0 <= priority <= 3:
                same = Q(priority=priority, confidence=confidence)
                later = Q(priority__gt=priority) | Q(priority=priority, confidence__gt=confidence)
                return later | same & (Q(at__lt=at) | Q(at=at, pk__gt=pk))
    raise problems.invalid_field("cursor", "This is no cursor of this list.")


def _too_many_calls() -> Problem:
    detail = "Call again after the seconds of Retry-After, or with fewer calls at once."
    return Problem(429, "too-many-calls", TITLES[429], detail, headers={"Retry-After": "1"})


def _problem_of(error: ApiError) -> Problem:
    """The hints are for callers with a token of the service."""
    seconds = error.retry_after_s
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    title = TITLES.get(error.status, "The call cannot be answered")
    kind = error.code.lower().replace("_", "-")
    return Problem(error.status, kind, title, str(error), headers=headers)
