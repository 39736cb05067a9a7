"""Sign-in by a header that a proxy sets (EXEML_REMOTE_USER_HEADER), from EXEML_TRUSTED_PROXIES alone.

Groups come in `X-Remote-Groups`, separated by commas, and are the claim `groups` of EXEML_SIGN_IN_TEAMS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, authenticate, login, logout
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase

from exeml_site.lib.params import is_storable
from exeml_site.logs.client_address import is_trusted_proxy
from projects import audit
from projects.sign_in.claims import Identity, roles_of
from projects.sign_in.identities import follow_claims
from projects.sign_in.service_accounts import is_service_account

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

PROVIDER = "trusted header"
GROUPS, MAIL = "HTTP_X_REMOTE_GROUPS", "HTTP_X_REMOTE_EMAIL"
SESSION_KEY = "remote-user"  # the header's value when the session began: name and groups
BACKEND = "projects.sign_in.remote_user.TrustedHeaderBackend"


class TrustedHeaderBackend(ModelBackend):
    """The account with the header's name; a new one where a rule gives it a role."""

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, identity: Identity | None = None, **kwargs: Any
    ) -> AbstractBaseUser | None:
        if identity is None:
            return None
        with transaction.atomic():
            user = User.objects.filter(username=identity.username).first()
            if user is None and roles_of(identity.claims):
                user = User.objects.create_user(identity.username, identity.email)
                audit.record(audit.Kind.ACCOUNT_CREATED, target=user, provider=PROVIDER)
            if user is None or not self.user_can_authenticate(user) or is_service_account(user):
                return None
            follow_claims(user, identity)
        return user


class TrustedHeaderMiddleware:
    """Signs in whom the proxy names, and out when it no longer does or names somebody else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        identity = _identity(request)
        said = [identity.username, identity.claims["groups"]] if identity else None
        if request.session.get(BACKEND_SESSION_KEY) == BACKEND and request.session.get(SESSION_KEY) != said:
            logout(request)
        if identity and not request.user.is_authenticated:
            user = authenticate(request, identity=identity)
            if user is not None:
                login(request, user, BACKEND)
                request.session[SESSION_KEY] = said
        return self.get_response(request)


def _identity(request: HttpRequest) -> Identity | None:
    """Whom the proxy names; None for a request that did not come from it directly."""
    name = request.META.get(settings.REMOTE_USER_HEADER, "").strip()
    sender = str(request.META.get("REMOTE_ADDR", ""))
    if not name or len(name) > 150 or not is_storable(name) or not is_trusted_proxy(sender):
        return None
    groups = [group.strip() for group in request.META.get(GROUPS, "").split(",") if group.strip()]
    email = request.META.get(MAIL, "")[:254]
    return Identity(PROVIDER, name, username=name, email=email, claims={"groups": groups})
