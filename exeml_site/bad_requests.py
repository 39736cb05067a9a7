"""Middleware: what no page can understand or store is refused with 400 or 404 before a view sees it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import (
    BadRequest,
    ImproperlyConfigured,
    ObjectDoesNotExist,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.core.handlers.wsgi import WSGIRequest
from django.db import DatabaseError, DataError, IntegrityError, OperationalError, ProgrammingError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import NoReverseMatch
from django.utils.http import parse_header_parameters
from django.utils.translation import gettext, gettext_noop
from rq.exceptions import InvalidJobOperation, NoSuchJobError

from exeml_site.lib.display import count
from exeml_site.lib.http import has_chunked_body, problem
from exeml_site.lib.outages.parts import part_of
from exeml_site.lib.params import MAX_INTEGER, is_storable, parse_int

logger = logging.getLogger(__name__)

NOT_STORABLE = gettext_noop("It contains invalid characters, such as a zero byte.")
NOT_UTF8 = gettext_noop("Its text is not in UTF-8.")
BROKEN = gettext_noop("Its body is damaged or incomplete, or has too many fields.")
BODY_TOO_LARGE = gettext_noop("Its files are larger than %(limit)s GB.")
SIGN_IN_FIRST = gettext_noop("Its body is too large to be sent without signing in.")
TOO_LARGE = gettext_noop("Its fields are too large.")
NO_LENGTH = gettext_noop("Its body has no valid length. Send the header Content-Length.")
OUT_OF_RANGE = gettext_noop("One of its values is too large.")
QUEUE_PAGES = ("admin/rq/", "admin/django_rq/", "admin/r/")
# What they raise for a job, worker, result, scheduler or row that is not there. Their model has no table.
UNKNOWN_JOB = (
    *(NoSuchJobError, InvalidJobOperation, LookupError, ValueError, ImproperlyConfigured),
    *(OperationalError, ProgrammingError, NoReverseMatch),
)
FOREIGN_KEY_VIOLATION = "23503"  # SQLSTATE
OF_SQLITE = "FOREIGN KEY constraint failed"  # not translated: SQLite's text
NOTHING_SAVED = "did not affect any rows"  # not translated: Django's text
REST_API, REQUEST_BROKEN = "/api/", "request-broken"
BROKEN_TITLE = "The request is broken"  # not translated: for programs
API, API_HINT = "/v1/infers", "The guide at /v1/ shows a call."  # not translated: for programs


class Utf8Request(WSGIRequest):
    """A request whose text is UTF-8, whatever charset its Content-Type names.

    Django decodes the query by that charset while it makes the request, and `rot13` then raises before
    anything can answer.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))


class BadRequestMiddleware:
    """Refuses what the database cannot hold, for every address, whatever its view reads.

    Programs that call services get their errors as JSON from `training.serving.call_request`; those views
    read their bodies themselves, after the token.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        charset = (request.content_params or {}).get("charset", "utf-8")
        if charset.lower() not in ("utf-8", "utf8", "us-ascii"):
            return refuse(request, gettext(NOT_UTF8))
        length = request.META.get("CONTENT_LENGTH") or "0"
        if parse_int(length) is None:
            return refuse(request, gettext(NO_LENGTH))
        if not all(map(is_storable, [request.path_info, *_texts_of(request.GET), *request.COOKIES.values()])):
            return refuse(request, gettext(NOT_STORABLE))
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        if any(isinstance(value, int) and value > MAX_INTEGER for value in kwargs.values()):
            if request.path_info.startswith(REST_API):
                return _not_found(request)
            raise Http404
        if getattr(view, "csrf_exempt", False):
            return None
        if has_chunked_body(request):
            return refuse(request, gettext(NO_LENGTH), status=411)
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        if length > (settings.EXEML_MAX_IMPORT_GB + 1) * 1024**3:
            reason = gettext(BODY_TOO_LARGE) % {"limit": count(settings.EXEML_MAX_IMPORT_GB)}
            return refuse(request, reason, status=413)
        if length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE and not request.user.is_authenticated:
            return refuse(request, gettext(SIGN_IN_FIRST), status=413)  # before its files fill the disk
        return None

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The last net; what it catches is logged, since the view should have refused it."""
        route = request.resolver_match.route if request.resolver_match else ""
        if route.startswith(QUEUE_PAGES) and isinstance(error, UNKNOWN_JOB) and part_of(error) is None:
            return _not_found(request)
        if isinstance(error, (OverflowError, DataError, RecursionError)):
            logger.error("%s: a value out of range", request.path, exc_info=error)
            return refuse(request, gettext(OUT_OF_RANGE))
        if _is_of_missing_row(error) and not request.path_info.startswith(API):
            logger.error("%s: a row that it needs is not there", request.path, exc_info=error)
            return _not_found(request)
        return None


class BadFormMiddleware:
    """Refuses a form with text that no column can hold. It reads the body: it stands after the CSRF check."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        if getattr(view, "csrf_exempt", False):
            return None
        try:
            is_clean = all(map(is_storable, _texts_of(request.POST)))
        except RequestDataTooBig:
            return refuse(request, gettext(TOO_LARGE), status=413)
        except (SuspiciousOperation, MultiPartParserError, BadRequest, UnreadablePostError):
            return refuse(request, gettext(BROKEN))
        return None if is_clean else refuse(request, gettext(NOT_STORABLE))


def refuse(request: HttpRequest, reason: str, status: int = 400) -> HttpResponse:
    """The answer to a request that has none, as JSON for programs. It reads nothing more of the request."""
    if request.path_info.startswith(REST_API):
        response: HttpResponse = problem(status, REQUEST_BROKEN, BROKEN_TITLE, reason)
    elif request.path_info.startswith(API):
        body = {"error_code": "REQUEST_BROKEN", "error_msg": reason, "hint": API_HINT}
        response = JsonResponse(body, status=status)
    else:
        content = render_to_string("400.html", {"reason": reason, "status": status})
        response = HttpResponse(content, status=status)
    return response


def _not_found(request: HttpRequest) -> HttpResponse:
    if request.path_info.startswith(REST_API):
        return problem(404, "not-found", "Not found")  # not translated: for programs
    return render(request, "404.html", status=404)


def _is_of_missing_row(error: Exception) -> bool:
    """Whether a row was not there when the view read, saved or referred to it: often it was just deleted."""
    if isinstance(error, IntegrityError):
        state = getattr(error.__cause__, "sqlstate", "")
        return state == FOREIGN_KEY_VIOLATION or OF_SQLITE in str(error)
    is_unsaved = type(error) is DatabaseError and NOTHING_SAVED in str(error)
    return is_unsaved or isinstance(error, ObjectDoesNotExist)


def _texts_of(params: QueryDict) -> Iterator[str]:
    for name, values in params.lists():
        yield name
        yield from values
