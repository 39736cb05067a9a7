"""The API: its parser, its answers, and how exceptions become problems."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    UnreadablePostError,
)
from django.http.multipartparser import MultiPartParserError
from django.urls import URLPattern, URLResolver, re_path
from django.utils.cache import get_conditional_response, set_response_etag
from django.utils.datastructures import MultiValueDict
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError
from ninja.errors import ValidationError as NinjaValidationError
from ninja.operation import Operation
from ninja.parser import Parser

from exeml_site.lib.errors import Refused
from exeml_site.lib.http import Access, public
from exeml_site.lib.params import is_storable, parse_json
from projects.api.core.access import BearerToken, not_signed_in
from projects.api.core.problems import Problem, forbidden, invalid, not_found, refused
from projects.models import Scope

BROKEN = "The request is broken"


class StorableParser(Parser):
    """JSON that the database can hold: no NaN, no zero byte, no thousands of levels."""

    def parse_body(self, request: HttpRequest) -> Any:
        try:
            return parse_json(request.body)
        except ValueError as error:
            reason = str(error).rstrip(".")
            raise HttpError(400, f"The body is no valid JSON: {reason}.") from error

    def parse_querydict(
        self, data: MultiValueDict[str, Any], list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        if not all(is_storable(str(text)) for name in data for text in (name, *data.getlist(name))):
            raise HttpError(400, "It contains invalid characters, such as a zero byte.")
        return super().parse_querydict(data, list_fields, request)


class Api(NinjaAPI):
    """Lists and single objects answer with an ETag, and with the fields that `fields` names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            auth=BearerToken(Access("signed-in", None, Scope.READ)), parser=StorableParser(), **options
        )
        for kind, answer in _ANSWERS:
            self.add_exception_handler(kind, answer)  # type: ignore[arg-type]

    def create_response(
        self,
        request: HttpRequest,
        data: Any,
        *,
        status: int | None = None,
        temporal_response: HttpResponse | None = None,
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return super().create_response(request, data, status=status, temporal_response=temporal_response)
        if names := [name for name in request.GET.get("fields", "").split(",") if name]:
            data = with_fields(data, names)
        response = super().create_response(request, data, status=status, temporal_response=temporal_response)
        response["Cache-Control"] = "private, no-cache"
        set_response_etag(response)
        conditional = get_conditional_response(request, etag=response["ETag"], response=response)
        return conditional or response

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        patterns = super()._get_urls()
        for pattern in patterns:
            if pattern.callback is not None:
                pattern.callback = _as_problems(pattern.callback)
        everything_else = re_path(r"^(?P<rest>[\s\S]+)", _as_problems(_nothing_there))  # line breaks, too
        return [*patterns, everything_else]

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__


def with_fields(data: Any, names: list[str]) -> Any:
    """`data`, or each of its `items`, with these fields alone. Raises Problem for one that is unknown."""
    if isinstance(data, dict) and "items" in data:
        return data | {"items": [with_fields(item, names) for item in data["items"]]}
    if not isinstance(data, dict):
        return data
    if unknown := [name for name in names if name not in data]:
        message = f"There is no field “{unknown[0]}”. There are {', '.join(data)}."
        raise invalid([{"field": "fields", "message": message}])
    return {name: data[name] for name in names}


# --- Views ---


def _as_problems(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The view, whose refusals before and beside an operation are problems, too."""

    @csrf_exempt
    @wraps(view, assigned=())
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            _check_size(request)
            response = view(request, *args, **kwargs)
        except Http404:
            return not_found().as_response()
        except Problem as problem:
            return problem.as_response()
        if isinstance(response, HttpResponseNotAllowed):
            detail = f"This address knows {response['Allow']}."
            headers = {"Allow": response["Allow"]}
            return Problem(405, "method-not-allowed", "Not possible", detail, headers=headers).as_response()
        return response

    return public(answer)  # each operation has an access decorator of its own


def _check_size(request: HttpRequest) -> None:
    """Refuse a body before any of it is read. Files of a form may be as large as those of the pages."""
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    is_form = request.content_type == "multipart/form-data"
    limit = settings.EXEML_MAX_IMPORT_GB * 1024**3 if is_form else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if length > limit:
        raise Problem(413, "too-large", "The body is too large", f"It may have {limit:,} bytes.")


def _nothing_there(request: HttpRequest, rest: str) -> HttpResponseBase:
    raise Http404


# --- Exceptions ---


def _of_problem(request: HttpRequest, problem: Problem) -> HttpResponseBase:
    return problem.as_response()


def _of_refusal(request: HttpRequest, refusal: Refused) -> HttpResponseBase:
    return refused(refusal).as_response()


def _of_authentication(request: HttpRequest, error: AuthenticationError) -> HttpResponseBase:
    return not_signed_in().as_response()


def _of_schema(request: HttpRequest, error: NinjaValidationError) -> HttpResponseBase:
    """Values of the wrong type: the last part of their place names the field."""
    errors = []
    for each in error.errors:
        place = [str(part) for part in each["loc"][1:]]
        # Bodies of one schema are named by their parameter, which callers do not know.
        if each["loc"][0] in ("body", "form", "query") and len(place) > 1:
            place = place[1:]
        errors.append({"field": ".".join(place), "message": each["msg"]})
    return invalid(errors).as_response()


def _of_validation(request: HttpRequest, error: ValidationError) -> HttpResponseBase:
    by_field = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    errors = [
        {"field": field if field != "__all__" else "", "message": message}
        for field, messages in by_field.items()
        for message in messages
    ]
    return invalid(errors).as_response()


def _of_missing(request: HttpRequest, error: Http404) -> HttpResponseBase:
    return not_found().as_response()


def _of_denial(request: HttpRequest, error: PermissionDenied) -> HttpResponseBase:
    return forbidden(str(error) or "Your role does not allow this.").as_response()


def _of_size(request: HttpRequest, error: RequestDataTooBig) -> HttpResponseBase:
    return Problem(413, "too-large", "The body is too large").as_response()


def _of_broken(request: HttpRequest, error: Exception) -> HttpResponseBase:
    return Problem(400, "request-broken", BROKEN, "Its body is damaged or incomplete.").as_response()


def _of_http_error(request: HttpRequest, error: HttpError) -> HttpResponseBase:
    if error.status_code >= 500:
        raise error
    # django-ninja hides why a body cannot be read behind a sentence of its own.
    reason = error.__cause__ if isinstance(error.__cause__, HttpError) else error
    return Problem(error.status_code, "request-broken", BROKEN, str(reason)).as_response()


_ANSWERS = (
    (Problem, _of_problem),
    (Refused, _of_refusal),
    (AuthenticationError, _of_authentication),
    (NinjaValidationError, _of_schema),
    (ValidationError, _of_validation),
    (Http404, _of_missing),
    (PermissionDenied, _of_denial),
    (RequestDataTooBig, _of_size),
    (SuspiciousOperation, _of_broken),
    (MultiPartParserError, _of_broken),
    (UnreadablePostError, _of_broken),
    (HttpError, _of_http_error),
)
