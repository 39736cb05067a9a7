"""Second factors: codes of an app, security keys, recovery codes. django-allauth stores and checks them.

It counts wrong codes, and remembers used ones, in the memory of one process; here the database does both,
for all processes and machines together.
"""

from __future__ import annotations

from typing import Any, cast

from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.models import Login
from allauth.mfa.base.internal.flows import delete_and_cleanup, delete_dangling_recovery_codes
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.flows import generate_recovery_codes
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.totp.internal.flows import activate_totp
from allauth.mfa.utils import decrypt
from allauth.mfa.webauthn.internal.flows import add_authenticator
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from projects import audit
from projects.access import SECOND_FACTOR_KEY

APP = "allauth.mfa"  # whose changes are confirmed with the password or a factor
Type = Authenticator.Type
FACTORS = (Type.TOTP, Type.WEBAUTHN)  # recovery codes stand in for one of them
LAST_STEP = "last_step"  # of a code of the app: a later code alone is good
FIRST_FACTOR_RECENTLY = {"reauthenticated": True}


def sign_in(request: HttpRequest, user: User, next_url: str, method: str, **facts: Any) -> HttpResponse:
    """Sign in somebody whose password or provider is right; a second factor is asked for if there is one."""
    record_authentication(request, user, method, **FIRST_FACTOR_RECENTLY, **facts)
    answer: HttpResponse = perform_login(request, Login(user=user, redirect_url=next_url))
    return answer


def has_factor(user: User) -> bool:
    return bool(Authenticator.objects.filter(user=user, type__in=FACTORS).exists())


def prove(request: HttpRequest, user: User) -> None:
    """This session has seen a second factor of `user`, so teams that require one open."""
    request.session[SECOND_FACTOR_KEY] = user.pk


def accept_code(user: User, code: str) -> Authenticator | None:
    """The authenticator of which `code` is a code that was not used before; None if it is wrong."""
    typed = code.replace(" ", "").replace("-", "")
    for authenticator in Authenticator.objects.filter(user=user, type=Type.TOTP):
        if _accept_app_code(authenticator, typed):
            return authenticator
    for authenticator in Authenticator.objects.filter(user=user, type=Type.RECOVERY_CODES):
        if authenticator.wrap().validate_code(typed):  # under a lock, once
            return authenticator
    return None


def remember_step(authenticator: Authenticator, secret: str, code: str) -> None:
    """The code that set up the app is used."""
    authenticator.data[LAST_STEP] = _step(secret, code)
    authenticator.save(update_fields=["data"])


@transaction.atomic
def _accept_app_code(authenticator: Authenticator, code: str) -> bool:
    authenticator = Authenticator.objects.select_for_update().get(pk=authenticator.pk)
    step = _step(decrypt(authenticator.data["secret"]), code)
    if step is None or step <= authenticator.data.get(LAST_STEP, 0):
        return False
    authenticator.data[LAST_STEP] = step
    authenticator.save(update_fields=["data"])
    return True


def _step(secret: str, code: str) -> int | None:
    """The half minute whose code this is, now or one before or after."""
    fitting = [
        step
        for step in totp.yield_hotp_counters_from_time()
        if totp.compare_user_code(actual=code, expected=totp.format_hotp_value(totp.hotp_value(secret, step)))
    ]
    return max(fitting, default=None)


def record_factor(kind: audit.Kind, factor: Authenticator) -> None:
    """`factor`: an app, a security key or recovery codes, of whoever acts or of somebody else."""
    is_key = factor.type == Type.WEBAUTHN
    details = {"name": factor.wrap().name} if is_key else {}
    audit.record(kind, target=factor.user, factor=factor.type, **details)


@transaction.atomic
def set_up_app(request: HttpRequest, form: Any) -> Authenticator | None:
    """Add the app whose first code is in the form; the recovery codes that were made with it."""
    app, codes = activate_totp(request, form)
    remember_step(app, form.secret, form.cleaned_data["code"])
    record_factor(audit.Kind.FACTOR_ADDED, app)
    return cast("Authenticator | None", codes)


@transaction.atomic
def add_key(request: HttpRequest, name: str, credential: Any) -> Authenticator | None:
    """Add a security key; the recovery codes that were made with it."""
    key, codes = add_authenticator(request, name, credential)
    record_factor(audit.Kind.FACTOR_ADDED, key)
    return cast("Authenticator | None", codes)


@transaction.atomic
def renew_codes(request: HttpRequest) -> None:
    record_factor(audit.Kind.CODES_RENEWED, generate_recovery_codes(request))


@transaction.atomic
def remove(request: HttpRequest, factor: Authenticator) -> None:
    """Remove a factor of whoever is signed in."""
    record_factor(audit.Kind.FACTOR_REMOVED, factor)
    delete_and_cleanup(request, factor)
    _forget_without_factor(request, factor.user)


def _forget_without_factor(request: HttpRequest, user: User) -> None:
    """After a factor was removed: recovery codes alone are none, and this session has no proof any more."""
    delete_dangling_recovery_codes(user)
    if not has_factor(user):
        request.session.pop(SECOND_FACTOR_KEY, None)
