"""`POST /v1/infers/<service id>`: what programs call. Every answer is JSON, also every refusal."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from projects.access import public
from training.models import Service
from training.services import predicting
from training.services.tokens import Token

logger = logging.getLogger(__name__)

PART = "images"
CURL = f"curl -F '{PART}=@photo.jpg' -H 'X-Auth-Token: …' <address>"
ENVELOPE_BYTES = 64 * 1024  # what multipart adds around one picture, generously
RETRY_AFTER_S = 5


@dataclass
class Refusal(Exception):
    """An answer that is no prediction. `retry_after_s` tells callers that it is worth waiting."""

    status: int
    code: str
    message: str
    hint: str
    retry_after_s: int | None = None

    def as_response(self) -> JsonResponse:
        body = {"error_code": self.code, "error_msg": self.message, "hint": self.hint}
        response = JsonResponse(body, status=self.status)
        if self.retry_after_s is not None:
            response["Retry-After"] = str(self.retry_after_s)
        if self.status == 401:
            response["WWW-Authenticate"] = 'Token realm="exeml"'
        if self.status == 405:
            response["Allow"] = "POST"
        return response


@csrf_exempt
@public
@never_cache
def infer(request: HttpRequest, service_id: str) -> JsonResponse:
    """The door is guarded by the service's own token, not by a session."""
    try:
        return JsonResponse(_counted_answer(request, _open(request, service_id)).as_json())
    except Refusal as refusal:
        return refusal.as_response()


def _open(request: HttpRequest, service_id: str) -> Service:
    """The service that the caller may use; nothing of the body is read before."""
    if request.method != "POST":
        raise Refusal(405, "METHOD_NOT_ALLOWED", "Only POST is answered here.", CURL)
    service = _find(service_id)
    if service is None:
        raise Refusal(
            404, "SERVICE_NOT_FOUND", "There is no service at this address.", "Copy the URL from its page."
        )
    token = request.headers.get("X-Auth-Token", "")
    if not token:
        raise Refusal(401, "TOKEN_MISSING", "The header X-Auth-Token is missing.", CURL)
    if not Token(token).opens(service.token_hash):
        hint = "A renewed token replaces the old one at once; managers make one on the service's page."
        raise Refusal(401, "TOKEN_WRONG", "The token is not the token of this service.", hint)
    return service


def _find(service_id: str) -> Service | None:
    """An address that is no UUID is answered here too: callers read JSON, not the site's 404 page."""
    try:
        key = UUID(service_id)
    except ValueError:
        return None
    return Service.objects.alive().select_related("training_version").filter(pk=key).first()


def _counted_answer(request: HttpRequest, service: Service) -> predicting.Answer:
    try:
        answer = _answer(request, service)
    except Refusal:
        predicting.count_call(service, has_failed=True)
        raise
    except Exception as problem:
        logger.exception("Service %s could not answer", service.pk)
        predicting.count_call(service, has_failed=True)
        raise Refusal(
            500, "INTERNAL", "The prediction failed.", "Operators find the reason in the log."
        ) from problem
    predicting.count_call(service, has_failed=False)
    return answer


def _answer(request: HttpRequest, service: Service) -> predicting.Answer:
    _check_running(service)
    content = _picture(request)
    try:
        return predicting.predict(service, [content])[0]
    except predicting.PictureRefused as problem:
        raise Refusal(
            400, "IMAGE_UNREADABLE", str(problem), "Send one JPG, PNG, BMP or WebP file."
        ) from problem
    except predicting.ModelUnavailable as problem:
        hint = "Deploy the version again, or ask an operator."
        raise Refusal(503, "MODEL_UNAVAILABLE", str(problem), hint, RETRY_AFTER_S) from problem


def _check_running(service: Service) -> None:
    if service.is_deploying:
        hint = "Try again in a few seconds."
        raise Refusal(503, "SERVICE_DEPLOYING", "The service is still starting.", hint, RETRY_AFTER_S)
    if not service.is_running:
        status = Service.Status.STOPPED if service.status == Service.Status.RUNNING else service.status
        hint = "A manager of the team can start it again on its page."
        raise Refusal(409, "SERVICE_NOT_RUNNING", f"The service is {status}.", hint)


def _picture(request: HttpRequest) -> bytes:
    """The content of the one part `images`."""
    limit = settings.EXEML_MAX_IMAGE_MB * 1024 * 1024
    if request.content_type != "multipart/form-data":
        raise Refusal(415, "NOT_MULTIPART", "The body must be multipart/form-data.", CURL)
    if int(request.META.get("CONTENT_LENGTH") or 0) > limit + ENVELOPE_BYTES:
        raise _too_large()
    pictures = _parts(request)
    if not pictures:
        raise Refusal(400, "IMAGE_MISSING", f"The body has no file part “{PART}”.", CURL)
    if len(pictures) > 1:
        raise Refusal(
            400, "ONE_IMAGE_PER_CALL", "One image per call.", f"Send one part “{PART}” in each call."
        )
    if (pictures[0].size or 0) > limit:
        raise _too_large()
    content: bytes = pictures[0].read()
    return content


def _parts(request: HttpRequest) -> list[UploadedFile[bytes]]:
    """Django stops reading at 100 files; a broken or overfull body is the caller's mistake."""
    try:
        return request.FILES.getlist(PART)
    except (MultiPartParserError, SuspiciousOperation) as problem:
        raise Refusal(400, "BODY_BROKEN", "The body is not valid multipart/form-data.", CURL) from problem


def _too_large() -> Refusal:
    limit = settings.EXEML_MAX_IMAGE_MB
    return Refusal(413, "IMAGE_TOO_LARGE", f"The image is larger than {limit} MB.", "Make it smaller first.")
