"""What django-allauth asks this site: which of its steps it takes, and in which words."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import generate_totp_secret
from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.display import count
from exeml_site.logs.client_address import client_address, parsed_address
from projects.sign_in.service_accounts import NO_SIGN_IN, is_service_account

UNKNOWN_ADDRESS = "0.0.0.0"  # of clients behind a Unix socket


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody signs up; messages are those of our views; redirects stay on this site."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_login(self, request: HttpRequest, user: User, **facts: Any) -> Any:
        """Every way to sign in passes here, whatever it has checked before."""
        if is_service_account(user):
            raise PermissionDenied(str(NO_SIGN_IN))
        return super().pre_login(request, user, **facts)

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Our views say what was done."""

    def get_login_stages(self) -> list[str]:
        return ["allauth.mfa.stages.AuthenticateStage"]

    def is_safe_url(self, url: str) -> bool:
        host, is_secure = self.request.get_host(), self.request.is_secure()
        return url_has_allowed_host_and_scheme(url, {host}, require_https=is_secure)

    def get_client_ip(self, request: HttpRequest) -> str:
        return parsed_address(client_address(request)) or UNKNOWN_ADDRESS

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """The password, a code or a security key. The first one is asked for."""
        ways = []
        if user.has_usable_password():
            ways.append("account_reauthenticate")
        if Authenticator.objects.filter(user=user).exists():
            ways.append("mfa_reauthenticate")
        return [{"id": way, "url": reverse(way)} for way in ways]

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """An account without a password and a second factor has nothing to confirm with."""
        return bool(self.get_reauthentication_methods(self.request.user))


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": gettext_lazy("This code is wrong or was used already. Enter the next one."),
    }

    def get_totp_label(self, user: Any) -> str:
        return str(user.get_username())

    def _get_site_name(self) -> str:
        return "exeml"

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Random, so that no code fits, where EXEML_SECRET_KEY is no longer the one of that time."""
        try:
            return _cipher().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            return str(generate_totp_secret())

    def generate_authenticator_name(self, user: User, type: Any) -> str:
        number = Authenticator.objects.filter(user=user, type=type).count() + 1
        return gettext("Security key %(number)s") % {"number": count(number)}


def _cipher() -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(settings.SECRET_KEY.encode()).digest()))
