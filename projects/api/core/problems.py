"""Errors of the API, as RFC 9457 describes them, with the sentences of the pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.forms import BaseForm
from django.http import JsonResponse

from exeml_site.lib import http
from exeml_site.lib.errors import Refused


class Problem(Exception):
    """An answer that is an error. `errors`: {"field", "message"} of each refused value."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str = "",
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.status, self.kind, self.title, self.detail = status, kind, title, detail
        self.errors, self.headers = errors, dict(headers or {})

    def as_response(self) -> JsonResponse:
        response = http.problem(self.status, self.kind, self.title, self.detail, self.errors)
        for name, value in self.headers.items():
            response[name] = value
        response._has_been_logged = True  # type: ignore[attr-defined]  # callers read it, the log does not
        return response


def forbidden(detail: str, kind: str = "forbidden") -> Problem:
    return Problem(403, kind, "Not allowed", detail)


def not_found(detail: str = "There is nothing at this address, or you may not see it.") -> Problem:
    return Problem(404, "not-found", "Not found", detail)


def invalid(errors: Sequence[Mapping[str, str]]) -> Problem:
    """Values of the call that cannot be accepted, each with the field it stands in."""
    detail = " ".join(error["message"] for error in errors)
    return Problem(422, "invalid-fields", "Some values cannot be accepted", detail, errors=errors)


def invalid_field(field: str, message: object) -> Problem:
    return invalid([{"field": field, "message": str(message)}])


def of_form(form: BaseForm, names: Mapping[str, str] | None = None) -> Problem:
    """The errors of a form that refused the values. `names`: field of the form → field of the call."""
    renamed = {"__all__": "", **(names or {})}
    return invalid(
        [
            {"field": renamed.get(field, field), "message": str(message)}
            for field, messages in form.errors.items()
            for message in messages
        ]
    )


def refused(refusal: Refused) -> Problem:
    """A rule forbids what was asked for, as things are now."""
    return Problem(409, "conflict", "Not possible now", str(refusal))
