"""The answer of every address while the database, the queue or the storage does not respond: 503.

Django turns an error into an answer in each layer of middleware, so that only `handler500` sees all of them.
"""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext, gettext_lazy
from django.views import defaults

from exeml_site.lib import http
from exeml_site.lib.outages.parts import Part, part_of, report
from exeml_site.lib.text import AnyText

RETRY_AFTER_S = 5
PROGRAMS, API = "/v1/", "/api/"
HEADINGS: dict[Part, AnyText] = {
    Part.DATABASE: gettext_lazy("The database is busy or not responding"),
    Part.QUEUE: gettext_lazy("The job queue is not responding"),
    Part.STORAGE: gettext_lazy("The storage of the files is not responding"),
}
FAILED = "The program failed"  # not translated: for programs
LOOK_IN_LOG = (
    "An operator finds the cause in the log, by the X-Request-ID of this answer."  # not translated: as above
)
HINT = "Call again after the seconds of Retry-After."  # not translated: for programs


def server_error(request: HttpRequest) -> HttpResponse:
    """`handler500`: 503 where a part outside the program is the cause, else the page of an error."""
    problem = sys.exc_info()[1]
    part = part_of(problem)
    if problem is None or part is None:
        return _error(request)
    report(part, problem)
    response = _answer(request, part)
    response["Retry-After"] = str(RETRY_AFTER_S)
    patch_cache_control(response, no_store=True)
    response._has_been_logged = True  # type: ignore[attr-defined]  # `report` wrote a line
    return response


def _error(request: HttpRequest) -> HttpResponse:
    if request.path_info.startswith(API):
        return http.problem(500, "error", FAILED, LOOK_IN_LOG)
    return defaults.server_error(request)


def _answer(request: HttpRequest, part: Part) -> HttpResponse:
    """A page for people, a sentence for the scripts of a page, JSON for programs. It reads no database."""
    accepted = request.headers.get("Accept", "")
    if request.path_info.startswith(PROGRAMS):
        body = {"error_code": error_code(part), "error_msg": error_message(part), "hint": HINT}
        return JsonResponse(body, status=503)
    if request.path_info.startswith(API):
        return http.problem(503, f"{part}-unavailable", error_message(part), HINT)
    with translation.override(_language_of(request)):
        sentence = gettext("%(heading)s. Try again in a moment.")
        text = sentence % {"heading": HEADINGS[part]}
        if "application/json" in accepted:
            return JsonResponse({"error": text}, status=503)
        if "HX-Request" in request.headers or "text/html" not in accepted:
            return HttpResponse(text, status=503, content_type="text/plain; charset=utf-8")
        context = {
            "part": str(part),
            "heading": HEADINGS[part],
            "again": request.get_full_path() if request.method in ("GET", "HEAD") else "",
            "retry_after_s": RETRY_AFTER_S,
        }
        return HttpResponse(render_to_string("503.html", context), status=503)


def error_code(part: Part) -> str:
    """The code in the answers of the API."""
    return f"{part.upper()}_UNAVAILABLE"


def error_message(part: Part) -> str:
    """The sentence in the answers of the API, which are English."""
    with translation.override("en"):
        return f"{HEADINGS[part]}."


def _language_of(request: HttpRequest) -> str:
    """The page's language; where the session could not be read, the browser's."""
    return getattr(request, "LANGUAGE_CODE", None) or translation.get_language_from_request(request)
