"""Predictions of a service with an access token, and feedback on answers that the service keeps."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import JsonResponse
from ninja import Field, Router, Schema

from exeml_site.lib.outages.database import release_connection
from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.problems import Problem
from projects.models import Project, Role, Scope
from training.api.services import SERVICE, get_service
from training.serving.answer import CallFailed
from training.serving.call_request import ApiError, answer_call
from training.serving.calls import feedback, limits
from training.serving.openapi import images_body, one_or_several

router = Router(tags=["Services"])
TITLES = {429: "Too many calls", 503: "Not possible now"}


class Verdict(Body):
    request_id: UUID = Field(description="Of an answer with `is_collected` true.")
    is_right: bool
    correct_labels: list[str] = Field([], description="Where the answer was wrong and they are known.")


class VerdictOut(Schema):
    request_id: UUID
    is_right: bool
    correct_labels: list[str]


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
    call = feedback.find_call(get_service(project, service_id), body.request_id)
    if call is None:
        raise problems.not_found("This service keeps no such request.")
    try:
        by = request.user.get_username()
        feedback.record_verdict(call, body.is_right, body.correct_labels, by=by)
    except feedback.FeedbackRefused as refused:
        raise problems.invalid_field("correct_labels", refused) from refused
    call.refresh_from_db()
    return VerdictOut(request_id=call.pk, is_right=body.is_right, correct_labels=call.true_labels)


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
