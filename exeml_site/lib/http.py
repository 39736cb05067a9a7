"""How a view answers (whole pages and htmx fragments), and the marks `public` and `signed_in`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails


class SeeOther(HttpResponseRedirect):
    """After a POST: look there with GET."""

    status_code = 303


def wants_fragment(request: HttpRequest) -> bool:
    """True for htmx's own swaps; false for whole pages, boosted links and the browser's Back."""
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
    """Render `template`, or `fragment` when htmx asked for a part of the page.

    Answers differ by `HX-Request`, so caches are told; 409, 413 and 422 are swapped by htmx (base.html).
    """
    chosen = fragment if fragment and wants_fragment(request) else template
    response = render(request, chosen, dict(context or {}), status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def redirect_to(request: HttpRequest, url: str) -> HttpResponse:
    """Send the browser to `url`, whether htmx or the browser asked."""
    if wants_fragment(request):
        return HttpResponseClientRedirect(url)
    return SeeOther(url)


View = Callable[..., HttpResponseBase]


@dataclass(frozen=True)
class Access:
    """The mark that a view carries."""

    kind: Literal["public", "signed-in", "team", "project"]
    role: int | None = None


def public(view: View) -> View:
    """Anybody, also without an account."""
    view.access = Access("public")  # type: ignore[attr-defined]
    return view


def signed_in(view: View) -> View:
    """Anybody with an account."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return ask_to_sign_in(request)
        return view(request, *args, **kwargs)

    guarded.access = Access("signed-in")  # type: ignore[attr-defined]
    return guarded


def ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    """To the sign-in page and back again; an htmx swap is sent there as a whole page."""
    if wants_fragment(request):
        back = request.htmx.current_url_abs_path or "/"  # type: ignore[attr-defined]
        return redirect_to(request, redirect_to_login(back).url)
    return redirect_to_login(request.get_full_path())
