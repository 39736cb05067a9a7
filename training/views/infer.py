"""`POST /v1/infers/<service id>`: what programs call. Every answer is JSON, also every refusal."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.db import connection
from django.db.models import Q
from django.http import HttpRequest, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from exeml_site.lib.http import public
from training.models import Service, ServiceToken, TrainingVersion
from training.serving.calls import counters, limits
from training.serving.calls import feedback as call_feedback
from training.serving.inference import model_cache, predictor
from training.serving.tokens import Token

logger = logging.getLogger(__name__)

PART = "images"
MAX_IMAGES = 32  # in one call
MAX_FULL_SIZE_IMAGES = 4  # of the largest allowed size make the largest allowed body
CURL_HINT = f"curl -F '{PART}=@photo.jpg' -H 'X-Auth-Token: …' <address>"
FEEDBACK_HINT = 'Send JSON such as {"request_id": "…", "is_right": false, "correct_label": "roses"}.'
ENVELOPE_BYTES = 64 * 1024  # what multipart adds, generously
RETRY_AFTER_S = 5
MAX_CONNECTED_CALLS = 8  # in this process, that may keep their connections to the database
SERVICE_FIELDS = (
    "status",
    "stops_at",
    "project_id",
    "training_version_id",
    "canary_version_id",
    "canary_percent",
    "collects",
)
VERSION_ROLES, VERSION_FIELDS = ("training_version", "canary_version"), ("number", "job_id")
TOKEN_FIELDS = [
    *(f"service__{name}" for name in SERVICE_FIELDS),
    *(
        f"service__{role}__{name}"
        for role in ("training_version", "canary_version")
        for name in VERSION_FIELDS
    ),
]


@dataclass
class ApiError(Exception):
    """An answer that is no prediction. `retry_after_s` tells callers that it is worth waiting."""

    status: int
    code: str
    message: str
    hint: str
    retry_after_s: int | None = None

    def as_response(self) -> JsonResponse:
        body = {"error_code": self.code, "error_msg": self.message, "hint": self.hint}
        response = JsonResponse(body, status=self.status)
        response._has_been_logged = True  # type: ignore[attr-defined]  # callers are told, not the log
        if self.retry_after_s is not None:
            response["Retry-After"] = str(self.retry_after_s)
        if self.status == 401:
            response["WWW-Authenticate"] = 'Token realm="exeml"'
        if self.status == 405:
            response["Allow"] = "POST"
        return response


ApiHandler = Callable[[HttpRequest, Service, ServiceToken], dict[str, Any]]


def _api_view(deed: ApiHandler) -> Callable[[HttpRequest, str], HttpResponseBase]:
    """A view whose every ending is JSON. The door is guarded by the service's tokens, not by a session."""

    @csrf_exempt
    @public
    @never_cache
    @wraps(deed)
    def view(request: HttpRequest, service_id: str) -> JsonResponse:
        try:
            with limits.call_limit.passing():
                service, token = _authenticate(request, service_id)
                _release_connection()
                response = JsonResponse(deed(request, service, token))
        except limits.Overloaded:
            hint = "Call again after the seconds of Retry-After, or with fewer calls at once."
            response = ApiError(429, "TOO_MANY_CALLS", "Too many calls at once.", hint, 1).as_response()
            response["Connection"] = "close"  # its body was not read
        except ApiError as refusal:
            response = refusal.as_response()
        except Exception:
            logger.exception("A call of service %s could not be answered", service_id)
            hint = "Operators find the reason in the log."
            response = ApiError(500, "INTERNAL", "The prediction failed.", hint).as_response()
        return response

    return view


@_api_view
def infer(request: HttpRequest, service: Service, token: ServiceToken) -> dict[str, Any]:
    """The answer to one picture, or {"results": […]} for several."""
    began = time.monotonic()
    version = predictor.version_for_call(service)

    def count(**seen: Any) -> None:
        ms = 1e3 * (time.monotonic() - began)
        counters.record_call(service.pk, version.pk, ms, token_id=token.pk, **seen)

    try:
        answers = _answers(request, service, version)
    except ApiError as refusal:
        count(error=refusal.code)
        raise
    except Exception:
        count(error="INTERNAL")
        raise
    labels = [label for one in answers for label in one.predicted_labels]
    count(labels=labels, unknown=sum(one.is_known is False for one in answers))
    if len(answers) == 1:
        return answers[0].as_json()
    results = [one.as_json() for one in answers]
    return {"results": results, "version": answers[0].version, "request_id": str(uuid4())}


@_api_view
def feedback(request: HttpRequest, service: Service, token: ServiceToken) -> dict[str, Any]:
    """What is right: kept with the collected picture of the request."""
    said = _parse_feedback(request)
    call = call_feedback.find_call(service, said.request_id)
    if call is None:
        hint = (
            "Only requests whose answer says is_collected are kept, for as long as the service's page says."
        )
        raise ApiError(404, "REQUEST_NOT_FOUND", "This service keeps no such request.", hint)
    try:
        call_feedback.record_verdict(call, said.is_right, said.labels, by=token.name)
    except call_feedback.FeedbackRefused as refused:
        raise ApiError(400, "FEEDBACK_REFUSED", str(refused), FEEDBACK_HINT) from refused
    return {"request_id": str(call.pk), "is_right": said.is_right}


def _release_connection() -> None:
    """Calls that wait for their bodies or their turn need no connection, and PostgreSQL has few."""
    is_crowded = limits.call_limit.inside > MAX_CONNECTED_CALLS
    if is_crowded and connection.vendor == "postgresql" and not connection.in_atomic_block:
        connection.close()


# --- who calls ---


def _authenticate(request: HttpRequest, service_id: str) -> tuple[Service, ServiceToken]:
    """The service that the caller may use; nothing of the body is read before."""
    if request.method != "POST":
        raise ApiError(405, "METHOD_NOT_ALLOWED", "Only POST is answered here.", CURL_HINT)
    key = _parse_uuid(service_id)
    plain = request.headers.get("X-Auth-Token", "")
    token = _find_token(key, plain) if key and plain else None
    if token is not None:
        return token.service, token
    if key is None or not Service.objects.alive().filter(pk=key).exists():
        hint = "Copy the URL from its page."
        raise ApiError(404, "SERVICE_NOT_FOUND", "There is no service at this address.", hint)
    if not plain:
        raise ApiError(401, "TOKEN_MISSING", "The header X-Auth-Token is missing.", CURL_HINT)
    hint = "It may have been revoked or rotated; managers make tokens on the service's page."
    raise ApiError(401, "TOKEN_WRONG", "The token is not a token of this service.", hint)


def _parse_uuid(service_id: str) -> UUID | None:
    """An address that is no UUID is answered here too: callers read JSON, not the site's 404 page."""
    try:
        return UUID(service_id)
    except ValueError:
        return None


def _find_token(key: UUID, plain: str) -> ServiceToken | None:
    """Found by its hash: 256 random bits, so nothing is learned from how long that takes.

    Asked at every call, so it reads what can change and nothing else; `Service` and `ServiceToken` are not
    whole.
    """
    is_alive = Q(service__deleted_at=None, service__project__deleted_at=None)
    tokens = ServiceToken.objects.filter(is_alive, service=key, token_hash=Token(plain).hash, revoked_at=None)
    row = tokens.order_by().values("pk", "name", *TOKEN_FIELDS).first()
    if row is None:
        return None
    service = Service(pk=key, **{name: row[f"service__{name}"] for name in SERVICE_FIELDS})
    service.training_version = _partial_version(row, "training_version")
    if service.canary_version_id is not None:
        service.canary_version = _partial_version(row, "canary_version")
    return ServiceToken(pk=row["pk"], name=row["name"], service=service)


def _partial_version(row: dict[str, Any], role: str) -> TrainingVersion:
    fields = {name: row[f"service__{role}__{name}"] for name in VERSION_FIELDS}
    return TrainingVersion(pk=row[f"service__{role}_id"], **fields)


# --- the body ---


def _answers(request: HttpRequest, service: Service, version: TrainingVersion) -> list[predictor.Answer]:
    _check_running(service)
    pictures = _read_images(request)
    answers = list[predictor.Answer]()
    try:
        for one in pictures:  # read one after the other, so that one of them is in memory
            content: bytes = one.read()
            answers.append(predictor.predict(version, content))
    except predictor.InvalidImage as problem:
        which = f"Picture {len(answers) + 1} of {len(pictures)}: " if len(pictures) > 1 else ""
        hint = "Send JPG, PNG, BMP or WebP files."
        raise ApiError(400, "IMAGE_UNREADABLE", f"{which}{problem}", hint) from problem
    except model_cache.ModelUnavailable as problem:
        hint = "Deploy the version again, or ask an operator."
        raise ApiError(503, "MODEL_UNAVAILABLE", str(problem), hint, RETRY_AFTER_S) from problem
    return _collected(service, version, pictures, answers) if service.collects else answers


def _collected(
    service: Service,
    version: TrainingVersion,
    pictures: list[UploadedFile[bytes]],
    answers: list[predictor.Answer],
) -> list[predictor.Answer]:
    """Kept once the whole call is answered: of a refused one nobody would know."""
    for one, answer in zip(pictures, answers, strict=True):
        one.seek(0)
        if answer.request_id:
            call_feedback.store_call(service, version, answer.request_id, one.read(), answer)
    return [replace(answer, is_collected=True) for answer in answers]


def _check_running(service: Service) -> None:
    if service.is_deploying:
        hint = "Try again in a few seconds."
        raise ApiError(503, "SERVICE_DEPLOYING", "The service is still starting.", hint, RETRY_AFTER_S)
    if not service.is_running:
        status = Service.Status.STOPPED if service.status == Service.Status.RUNNING else service.status
        hint = "A manager of the team can start it again on its page."
        raise ApiError(503, "SERVICE_NOT_RUNNING", f"The service is {status}.", hint)


def _read_images(request: HttpRequest) -> list[UploadedFile[bytes]]:
    """The parts `images`."""
    limit = settings.EXEML_MAX_IMAGE_MB * 1024 * 1024
    if request.content_type != "multipart/form-data":
        raise ApiError(415, "NOT_MULTIPART", "The body must be multipart/form-data.", CURL_HINT)
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_FULL_SIZE_IMAGES * limit + ENVELOPE_BYTES:
        raise _too_large(MAX_FULL_SIZE_IMAGES, "The call")
    pictures = _read_parts(request)
    if not pictures:
        raise ApiError(400, "IMAGE_MISSING", f"The body has no file part “{PART}”.", CURL_HINT)
    if len(pictures) > MAX_IMAGES:
        hint = f"Send at most {MAX_IMAGES} parts “{PART}” in each call."
        raise ApiError(400, "TOO_MANY_IMAGES", f"The call has {len(pictures)} pictures.", hint)
    if any((one.size or 0) > limit for one in pictures):
        raise _too_large(1, "A picture")
    return pictures


def _read_parts(request: HttpRequest) -> list[UploadedFile[bytes]]:
    """Django stops reading at 100 files; a broken or overfull body is the caller's mistake."""
    parts: list[UploadedFile[bytes]] = _read_body(
        request, lambda: request.FILES.getlist(PART), "multipart/form-data", CURL_HINT
    )
    return parts


def _read_body(request: HttpRequest, read: Callable[[], Any], kind: str, hint: str) -> Any:
    """What `read` takes from the body, if it comes in time and is whole."""
    try:
        with limits.body_timeout.limit(request.META.get("gunicorn.socket"), limits.BODY_TIMEOUT_S):
            return read()
    except limits.BodyTooSlow as problem:
        text = f"The body did not come within {limits.BODY_TIMEOUT_S:.0f} seconds."
        raise ApiError(408, "BODY_TOO_SLOW", text, "Send smaller pictures.") from problem
    except RequestDataTooBig as problem:
        raise _too_large(MAX_FULL_SIZE_IMAGES, "The call") from problem
    except (MultiPartParserError, SuspiciousOperation, UnreadablePostError, ValueError) as problem:
        raise ApiError(400, "BODY_BROKEN", f"The body is not valid {kind}.", hint) from problem


def _too_large(pictures: int, what: str) -> ApiError:
    limit = pictures * settings.EXEML_MAX_IMAGE_MB
    hint = "Make the pictures smaller first." if pictures == 1 else "Send fewer or smaller pictures at once."
    return ApiError(413, "IMAGE_TOO_LARGE", f"{what} is larger than {limit} MB.", hint)


@dataclass(frozen=True)
class FeedbackBody:
    """A feedback that can be understood."""

    request_id: UUID
    is_right: bool
    labels: list[str]


def _parse_feedback(request: HttpRequest) -> FeedbackBody:
    if request.content_type != "application/json":
        raise ApiError(415, "NOT_JSON", "The body must be application/json.", FEEDBACK_HINT)
    body = _read_body(request, lambda: json.loads(request.body), "JSON", FEEDBACK_HINT)
    if not isinstance(body, dict):
        raise ApiError(400, "BODY_BROKEN", "The body is not a JSON object.", FEEDBACK_HINT)
    request_id = _parse_uuid(str(body.get("request_id", "")))
    if request_id is None:
        raise ApiError(400, "FEEDBACK_REFUSED", "request_id is missing or is not one of ours.", FEEDBACK_HINT)
    labels = body.get("correct_labels", [body["correct_label"]] if "correct_label" in body else [])
    if not isinstance(labels, list) or not all(isinstance(one, str) for one in labels):
        raise ApiError(
            400, "FEEDBACK_REFUSED", "correct_label is a text, correct_labels a list.", FEEDBACK_HINT
        )
    is_right = body.get("is_right")
    if not isinstance(is_right, bool):
        raise ApiError(400, "FEEDBACK_REFUSED", "is_right must be true or false.", FEEDBACK_HINT)
    return FeedbackBody(request_id, is_right, labels)
