"""`POST /v1/infers/<service id>` and `…/feedback`, called by programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import HttpRequest

from exeml_site.lib.params import parse_json
from training.models import Service, ServiceToken
from training.serving.call_request import ApiError, answer_call, parse_uuid, read_body
from training.serving.calls import feedback as call_feedback
from training.views.api.call import api_view

FEEDBACK_HINT = 'Send JSON such as {"request_id": "…", "is_right": false, "correct_label": "roses"}.'


@api_view
def infer(request: HttpRequest, service: Service, token: ServiceToken) -> dict[str, Any]:
    """The answer to one image, or {"results": […]} for several."""
    return answer_call(request, service, token.pk)


@api_view
def feedback(request: HttpRequest, service: Service, token: ServiceToken) -> dict[str, Any]:
    """Store the verdict on a collected call."""
    body = _parse_feedback(request)
    call = call_feedback.find_call(service, body.request_id)
    if call is None:
        hint = (
            "Only requests whose answer says is_collected are kept, for as long as the service's page says."
        )
        raise ApiError(404, "REQUEST_NOT_FOUND", "This service keeps no such request.", hint)
    try:
        call_feedback.record_verdict(call, body.is_right, body.labels, by=token.name)
    except call_feedback.FeedbackRefused as refused:
        raise ApiError(400, "FEEDBACK_REFUSED", str(refused), FEEDBACK_HINT) from refused
    return {"request_id": str(call.pk), "is_right": body.is_right}


@dataclass(frozen=True)
class FeedbackBody:
    """The JSON of a valid feedback."""

    request_id: UUID
    is_right: bool
    labels: list[str]


def _parse_feedback(request: HttpRequest) -> FeedbackBody:
    """The body of a feedback. Raises ApiError."""
    if request.content_type != "application/json":
        raise ApiError(415, "NOT_JSON", "The body must be application/json.", FEEDBACK_HINT)
    body = read_body(request, lambda: parse_json(request.body), "JSON", FEEDBACK_HINT)
    if not isinstance(body, dict):
        raise ApiError(400, "BODY_BROKEN", "The body is not a JSON object.", FEEDBACK_HINT)
    request_id = parse_uuid(str(body.get("request_id", "")))
    if request_id is None:
        raise _bad_feedback("request_id is missing or is not one of ours.")
    labels = body.get("correct_labels", [body["correct_label"]] if "correct_label" in body else [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise _bad_feedback("correct_label is a text, correct_labels a list.")
    is_right = body.get("is_right")
    if not isinstance(is_right, bool):
        raise _bad_feedback("is_right must be true or false.")
    return FeedbackBody(request_id, is_right, labels)


def _bad_feedback(message: str) -> ApiError:
    return ApiError(400, "FEEDBACK_REFUSED", message, FEEDBACK_HINT)
