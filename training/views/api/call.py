"""What all API views share: token check, limits, and errors as JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial, wraps
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from exeml_site.lib.http import public
from exeml_site.lib.outages.database import release_connection
from exeml_site.lib.outages.parts import part_of, report
from exeml_site.unavailable import HINT, error_code, error_message
from projects.workspace.login_throttle import count_wrong_token
from projects.workspace.secret_token import Token
from training.models import Service, ServiceToken
from training.serving.answer import CallFailed
from training.serving.call_request import CURL_HINT, RETRY_AFTER_S, ApiError, parse_uuid
from training.serving.calls import limits
from training.serving.calls.memory import call_memory
from training.serving.tokens import find_token
from training.views.api import cors

logger = logging.getLogger(__name__)

ORIGIN_REFUSED = ApiError(
    403,
    "ORIGIN_NOT_ALLOWED",
    "Pages of this website may not call the service.",
    "A manager of the team can allow the website on the service's page.",
)
ApiHandler = Callable[[HttpRequest, Service, ServiceToken], dict[str, Any]]


def api_view(handler: ApiHandler) -> Callable[[HttpRequest, str], HttpResponseBase]:
    """A view of the API: checks the service's token, not a session, and turns every error into JSON."""

    def answer(request: HttpRequest, service_id: str) -> HttpResponse:
        try:
            with limits.call_limit.passing():
                service, token = _authenticate(request, service_id)
                release_connection()  # calls wait for their bodies and their turn
                response = JsonResponse(handler(request, service, token))
        except limits.Overloaded:
            hint = "Call again after the seconds of Retry-After, or with fewer calls at once."
            response = ApiError(429, "TOO_MANY_CALLS", "Too many calls at once.", hint, 1).as_response()
        except CallFailed as failed:
            response = ApiError.of(failed).as_response()
        except Exception as problem:
            response = _unanswered(problem, service_id).as_response()
        return response

    @csrf_exempt
    @public
    @never_cache
    @wraps(handler)
    def view(request: HttpRequest, service_id: str) -> HttpResponse:
        is_preflight = cors.is_preflight(request)
        response = HttpResponse(status=204) if is_preflight else answer(request, service_id)
        if cors.is_allowed(request, parse_uuid(service_id)):
            cors.allow_origin(request, response)
        elif is_preflight:
            response = ORIGIN_REFUSED.as_response()
        return response

    return view


def _unanswered(problem: Exception, service_id: str) -> ApiError:
    """The error of a call that failed for a reason of ours."""
    part = part_of(problem)
    if part is None:
        logger.error("A call of service %s could not be answered", service_id, exc_info=problem)
        return ApiError(500, "INTERNAL", "The prediction failed.", "Operators find the reason in the log.")
    report(part, problem)
    return ApiError(503, error_code(part), error_message(part), HINT, RETRY_AFTER_S)


def _authenticate(request: HttpRequest, service_id: str) -> tuple[Service, ServiceToken]:
    """The service and the token of the call. Raises ApiError before any of the body is read."""
    if request.method != "POST":
        raise ApiError(405, "METHOD_NOT_ALLOWED", "Only POST is answered here.", CURL_HINT)
    key = parse_uuid(service_id)
    plain = request.headers.get("X-Auth-Token", "")
    token = _known_token(key, plain) if key and plain else None
    if token is not None:
        return token.service, token
    if key is None or not Service.objects.alive().filter(pk=key).exists():
        hint = "Copy the URL from its page."
        raise ApiError(404, "SERVICE_NOT_FOUND", "There is no service at this address.", hint)
    if not plain:
        raise ApiError(401, "TOKEN_MISSING", "The header X-Auth-Token is missing.", CURL_HINT)
    attempt = count_wrong_token(request)
    if attempt.is_refused:
        text, hint = "Too many calls with wrong tokens.", "A right token of this service is answered at once."
        raise ApiError(429, "TOO_MANY_WRONG_TOKENS", text, hint, attempt.wait_s)
    hint = "It may have been revoked or rotated; managers make tokens on the service's page."
    raise ApiError(401, "TOKEN_WRONG", "The token is not a token of this service.", hint)


def _known_token(service_id: UUID, plain: str) -> ServiceToken | None:
    key = ("token", service_id, Token(plain).hash)
    return call_memory.recall(key, partial(find_token, service_id, plain))
