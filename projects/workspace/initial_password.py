"""A password that its owner did not choose opens one page only: the one that changes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from exeml_site.lib.http import redirect_to
from projects.models import InitialPassword

SESSION_KEY = "has-initial-password"
OPEN_PAGES = ("change_password", "sign_out", "choose_language", "script_texts")


def require_change(user: User) -> None:
    """Let `user` change the password at the next sign-in."""
    InitialPassword.objects.get_or_create(user=user)


def must_change(request: HttpRequest) -> bool:
    return bool(request.session.get(SESSION_KEY))


def changed(request: HttpRequest) -> None:
    """The person of this session has chosen a password."""
    InitialPassword.objects.filter(user=request.user.pk).delete()
    request.session.pop(SESSION_KEY, None)


@receiver(user_logged_in)
def _mark_session(request: HttpRequest, user: User, **kwargs: Any) -> None:
    """The session knows, so that no page asks the database."""
    if InitialPassword.objects.filter(user=user).exists():
        request.session[SESSION_KEY] = True


class InitialPasswordMiddleware:
    """Leads to the page that changes the password, from every other page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponseBase | None:
        if settings.SESSION_COOKIE_NAME not in request.COOKIES or not must_change(request):
            return None
        if request.resolver_match and request.resolver_match.url_name in OPEN_PAGES:
            return None
        return redirect_to(request, reverse("change_password"))
