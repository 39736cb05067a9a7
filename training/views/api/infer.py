"""`POST /v1/infers/<service id>` and `…/feedback`, called by programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest

from exeml_site.lib.params import parse_json
from training.models import Service, ServiceToken
from training.serving.answer import counted_call
from training.serving.calls import feedback as call_feedback
from training.views.api.call import (
    CURL_HINT,
    MAX_FULL_SIZE_IMAGES,
    PART,
    RETRY_AFTER_S,
    ApiError,
    api_view,
    largest_body,
    parse_uuid,
    read_body,
    too_large,
)

MAX_IMAGES = 32  # in one call
FEEDBACK_HINT = 'Send JSON such as {"request_id": "…", "is_right": false, "correct_label": "roses"}.'


@api_view
def infer(request: HttpRequest, service: Service, token: ServiceToken) -> dict[str, Any]:
    """The answer to one image, or {"results": […]} for several."""
    with counted_call(service, token.pk) as call:
        _check_running(service)
        answers = call.answer(_read_images(request))
    if len(answers) == 1:
        return answers[0].as_json()
    results = [answer.as_json() for answer in answers]
    return {"results": results, "version": answers[0].version, "request_id": str(uuid4())}


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


def _check_running(service: Service) -> None:
    if service.is_deploying:
        hint = "Try again in a few seconds."
        raise ApiError(503, "SERVICE_DEPLOYING", "The service is still starting.", hint, RETRY_AFTER_S)
    if not service.is_running:
        status = Service.Status.STOPPED if service.status == Service.Status.RUNNING else service.status
        hint = "A manager of the team can start it again on its page."
        raise ApiError(503, "SERVICE_NOT_RUNNING", f"The service is {status}.", hint)


def _read_images(request: HttpRequest) -> list[UploadedFile[bytes]]:
    """The parts `images` of the body, checked by number and size."""
    limit = settings.EXEML_MAX_IMAGE_MB * 1024 * 1024
    if request.content_type != "multipart/form-data":
        raise ApiError(415, "NOT_MULTIPART", "The body must be multipart/form-data.", CURL_HINT)
    if int(request.META.get("CONTENT_LENGTH") or 0) > largest_body():
        raise too_large(MAX_FULL_SIZE_IMAGES, "The call")
    images: list[UploadedFile[bytes]] = read_body(
        request, lambda: request.FILES.getlist(PART), "multipart/form-data", CURL_HINT
    )
    if not images:
        raise ApiError(400, "IMAGE_MISSING", f"The body has no file part “{PART}”.", CURL_HINT)
    if len(images) > MAX_IMAGES:
        hint = f"Send at most {MAX_IMAGES} parts “{PART}” in each call."
        raise ApiError(400, "TOO_MANY_IMAGES", f"The call has {len(images)} pictures.", hint)
    if any((image.size or 0) > limit for image in images):
        raise too_large(1, "A picture")
    return images


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
