"""Responses of views (whole pages and htmx fragments), and the access decorators `public` and `signed_in`."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, BinaryIO, Literal

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails


class SeeOther(HttpResponseRedirect):
    """Redirect after a POST: the browser requests the URL with GET."""

    status_code = 303


def wants_fragment(request: HttpRequest) -> bool:
    """Whether htmx requests a fragment; false for pages, boosted links and the browser's Back."""
    htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def page(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    fragment: str | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render `template`, or `fragment` if htmx requested a part of the page.

    The response varies by `HX-Request`. htmx swaps 409, 413 and 422, too (base.html).
    """
    chosen = fragment if fragment and wants_fragment(request) else template
    response = render(request, chosen, dict(context or {}), status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def problem(
    status: int, kind: str, title: str, detail: str = "", errors: Sequence[Mapping[str, str]] = ()
) -> JsonResponse:
    """An error of the API as RFC 9457 describes it. `errors`: {"field", "message"} of each refused value."""
    body: dict[str, Any] = {"type": f"urn:exeml:problem:{kind}", "title": title, "status": status}
    if detail:
        body["detail"] = detail
    if errors:
        body["errors"] = list(errors)
    return JsonResponse(body, status=status, content_type="application/problem+json")


def site_url(request: HttpRequest) -> str:
    """The address of the site, with its path on the host, without a slash at the end."""
    return request.build_absolute_uri(reverse("home")).rstrip("/")


def redirect_to(request: HttpRequest, url: str) -> HttpResponse:
    """Redirect to `url`, for requests of htmx and of the browser."""
    if wants_fragment(request):
        return HttpResponseClientRedirect(url)
    return SeeOther(url)


def has_chunked_body(request: HttpRequest) -> bool:
    """Whether the body comes in chunks, without a length before it."""
    return "chunked" in request.headers.get("Transfer-Encoding", "").lower()


class ChunkedBody(io.RawIOBase):
    """A body without a length, whose end the server finds. Raises RequestDataTooBig after `limit` bytes."""

    def __init__(self, source: BinaryIO, limit: int) -> None:
        self._source, self._left = source, limit

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        content = self._source.read(min(len(target), self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise RequestDataTooBig
        target[: len(content)] = content
        return len(content)


View = Callable[..., HttpResponseBase]


@dataclass(frozen=True)
class Access:
    """The access rule of a view, set by its decorator."""

    kind: Literal["public", "signed-in", "team", "project", "operator"]
    role: int | None = None
    scope: str = ""  # that a token needs; empty for pages


def public(view: View) -> View:
    """Decorator: admits everybody."""
    view.access = Access("public")  # type: ignore[attr-defined]
    return view


def signed_in(view: View) -> View:
    """Decorator: admits everybody who is signed in."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return ask_to_sign_in(request)
        return view(request, *args, **kwargs)

    guarded.access = Access("signed-in")  # type: ignore[attr-defined]
    return guarded


def ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    """Redirect to the sign-in page, which returns to this page; htmx loads it as a whole page."""
    if wants_fragment(request):
        back = request.htmx.current_url_abs_path or reverse("home")  # type: ignore[attr-defined]
        return redirect_to(request, redirect_to_login(back).url)
    return redirect_to_login(request.get_full_path())
