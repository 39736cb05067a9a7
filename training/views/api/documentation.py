"""Documentation of the API: an OpenAPI document for programs, a page for people."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from exeml_site.lib.http import page, public, site_url
from training.serving.call_request import ApiError
from training.serving.code_samples import snippets
from training.serving.openapi import ANSWER, ERRORS, FEEDBACK, PROBLEM, openapi_document

PLACEHOLDER = "<service id>"


@public
@require_safe
def openapi(request: HttpRequest) -> JsonResponse:
    return JsonResponse(openapi_document(site_url(request)))


@public
@require_safe
def api_guide(request: HttpRequest) -> HttpResponse:
    url = f"{site_url(request)}/v1/infers/{PLACEHOLDER}"
    context = {
        "url": url,
        "snippets": snippets(url, "YOUR_TOKEN"),
        "answer": json.dumps(ANSWER["example"], indent=2),
        "fields": [(name, schema.get("description", "")) for name, schema in ANSWER["properties"].items()],
        "feedback": json.dumps(FEEDBACK["example"], indent=2),
        "problem": json.dumps(PROBLEM["example"], indent=2, ensure_ascii=False),
        "errors": [(status, text, codes) for status, (text, codes) in ERRORS.items()],
    }
    return page(request, "services/api.html", context)


@public
@require_safe
def api_reference(request: HttpRequest) -> HttpResponse:
    """All operations of the API, which people can try out."""
    return page(request, "api_reference/api_reference.html")


@csrf_exempt
@public
def unknown_address(request: HttpRequest, rest: str) -> HttpResponse:
    """JSON for programs that call an address which is not there."""
    hint = "The guide at /v1/ shows the addresses."
    return ApiError(404, "ADDRESS_NOT_FOUND", "There is nothing at this address.", hint).as_response()
