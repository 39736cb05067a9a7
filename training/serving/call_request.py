"""What programs send to a service over HTTP: pictures, checked before any is decoded, and errors.

`/v1/infers` and the REST API both read their calls here. The errors are those of `training.serving.openapi`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError

from exeml_site.lib.http import ChunkedBody, has_chunked_body
from projects.formats.pictures.picture_formats import FORMAT_NAMES
from training.models import Service
from training.serving.answer import CallFailed, counted_call

PART = "images"
CURL_HINT = f"curl -F '{PART}=@photo.jpg' -H 'X-Auth-Token: …' <address>"
MAX_FULL_SIZE_IMAGES = 4  # of the largest allowed size make the largest allowed body
ENVELOPE_BYTES = 64 * 1024  # more than multipart adds to the images
RETRY_AFTER_S = 5
MAX_IMAGES = 32  # in one call


class ApiError(CallFailed):
    """A response that is no prediction. `retry_after_s` tells callers to wait and call again."""

    def __init__(
        self, status: int, code: str, message: str, hint: str, retry_after_s: int | None = None
    ) -> None:
        super().__init__(code, message)
        self.status, self.hint, self.retry_after_s = status, hint, retry_after_s

    @classmethod
    def of(cls, failed: CallFailed) -> ApiError:
        """The error of a call that its images or its model made fail."""
        if isinstance(failed, ApiError):
            return failed
        if failed.code == "IMAGE_UNREADABLE":
            return cls(400, "IMAGE_UNREADABLE", str(failed), f"Send {FORMAT_NAMES} files.")
        hint = "Deploy the version again, or ask an operator."
        return cls(503, "MODEL_UNAVAILABLE", str(failed), hint, RETRY_AFTER_S)

    def as_response(self) -> JsonResponse:
        body = {"error_code": self.code, "error_msg": str(self), "hint": self.hint}
        response = JsonResponse(body, status=self.status)
        response._has_been_logged = True  # type: ignore[attr-defined]  # callers read it, the log does not
        if self.retry_after_s is not None:
            response["Retry-After"] = str(self.retry_after_s)
        if self.status == 401:
            response["WWW-Authenticate"] = 'Token realm="exeml"'
        if self.status == 405:
            response["Allow"] = "POST"
        return response


def answer_call(request: HttpRequest, service: Service, token_id: int | None = None) -> dict[str, Any]:
    """The answer to the image of a call, or {"results": […]} for several; counted. Raises CallFailed."""
    with counted_call(service, token_id) as call:
        check_running(service)
        answers = call.answer(read_images(request))
    if len(answers) == 1:
        return answers[0].as_json()
    results = [answer.as_json() for answer in answers]
    return {"results": results, "version": answers[0].version, "request_id": str(uuid4())}


def check_running(service: Service) -> None:
    if service.is_deploying:
        hint = "Try again in a few seconds."
        raise ApiError(503, "SERVICE_DEPLOYING", "The service is still starting.", hint, RETRY_AFTER_S)
    if not service.is_running:
        status = Service.Status.STOPPED if service.status == Service.Status.RUNNING else service.status
        hint = "A manager of the team can start it again on its page."
        raise ApiError(503, "SERVICE_NOT_RUNNING", f"The service is {status}.", hint)


def read_images(request: HttpRequest) -> list[UploadedFile[bytes]]:
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


def parse_uuid(text: str) -> UUID | None:
    """None for any other text: the URL accepts it, so that callers get JSON and not the site's 404 page."""
    try:
        return UUID(text)
    except ValueError:
        return None


def read_body(request: HttpRequest, read: Callable[[], Any], kind: str, hint: str) -> Any:
    """The result of `read`. Raises ApiError if the body is too large or no valid `kind`.

    Django itself raises at the hundredth file.
    """
    if has_chunked_body(request):
        _accept_chunks(request)
    try:
        return read()
    except RequestDataTooBig as problem:
        raise too_large(MAX_FULL_SIZE_IMAGES, "The call") from problem
    except (MultiPartParserError, SuspiciousOperation, UnreadablePostError, ValueError) as problem:
        raise ApiError(400, "BODY_BROKEN", f"The body is not valid {kind}.", hint) from problem


def largest_body() -> int:
    """Bytes of the largest call: the images and what multipart adds to them."""
    return MAX_FULL_SIZE_IMAGES * settings.EXEML_MAX_IMAGE_MB * 1024 * 1024 + ENVELOPE_BYTES


def _accept_chunks(request: HttpRequest) -> None:
    """Let Django read a body without a length, to the end that the server finds, within the same limits."""
    if not request.META.get("wsgi.input_terminated"):
        hint = "Send the header Content-Length."
        raise ApiError(411, "LENGTH_REQUIRED", "This server needs the length of the body.", hint)
    is_multipart = request.content_type == "multipart/form-data"
    limit = largest_body() if is_multipart else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    body = io.BufferedReader(ChunkedBody(request.META["wsgi.input"], limit))
    request._stream = body
    # Django reads no multipart body of length 0, and its largest length lets it store files on the disk.
    request.META["CONTENT_LENGTH"] = str(limit) if is_multipart else ""


def too_large(images: int, what: str) -> ApiError:
    limit = images * settings.EXEML_MAX_IMAGE_MB
    hint = "Make the pictures smaller first." if images == 1 else "Send fewer or smaller pictures at once."
    return ApiError(413, "IMAGE_TOO_LARGE", f"{what} is larger than {limit} MB.", hint)
