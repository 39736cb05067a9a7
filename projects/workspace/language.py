"""The language of a page: the one that its reader has chosen, else the browser's, else English."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_vary_headers

from projects.models import ChosenLanguage

SESSION_KEY = "language"
PROGRAMS = ("/v1/", "/metrics")  # their answers are English


def choose(request: HttpRequest, code: str) -> None:
    """Keep the choice of somebody signed in with the account, and for this session."""
    if request.user.is_authenticated:
        ChosenLanguage.objects.update_or_create(user=request.user, defaults={"code": code})
        request.session[SESSION_KEY] = code


def language_of(request: HttpRequest) -> str:
    """A language of the site: chosen by the person, by this browser, or asked for by the browser."""
    if request.path_info.startswith(PROGRAMS):
        return settings.LANGUAGE_CODE
    if settings.SESSION_COOKIE_NAME in request.COOKIES:
        chosen = request.session.get(SESSION_KEY, "")
        if chosen in dict(settings.LANGUAGES):
            return str(chosen)
    return translation.get_language_from_request(request)


@receiver(user_logged_in)
def _mark_session(request: HttpRequest, user: User, **kwargs: Any) -> None:
    """The session knows, so that no page asks the database."""
    if chosen := ChosenLanguage.objects.filter(user=user).first():
        request.session[SESSION_KEY] = chosen.code


class LanguageMiddleware:
    """Activates the language of a request, and English again after it: threads answer one after another."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with translation.override(language_of(request), deactivate=True):
            request.LANGUAGE_CODE = translation.get_language()
            response = self.get_response(request)
            response.headers.setdefault("Content-Language", translation.get_language() or "en")
        if not request.path_info.startswith(PROGRAMS):
            patch_vary_headers(response, ["Accept-Language"])
        return response
