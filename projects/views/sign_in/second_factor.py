"""The second step of sign-in, and the confirmation that changes of an account's security ask for."""

from __future__ import annotations

import json
from typing import Any

from allauth.account.internal.flows.login import record_authentication
from allauth.account.internal.flows.reauthentication import resume_request
from allauth.account.stages import LoginStageController
from allauth.mfa.base.internal.flows import post_authentication
from allauth.mfa.models import Authenticator
from allauth.mfa.stages import AuthenticateStage
from allauth.mfa.webauthn.internal import auth as webauthn
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from exeml_site.lib.http import page, public, redirect_to, signed_in
from projects import audit
from projects.access import PageRequest
from projects.forms.sign_in.second_factor import ConfirmPasswordForm, SecondFactorForm
from projects.sign_in import second_factor
from projects.workspace import login_throttle
from projects.workspace.login_throttle import Attempt


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def give_second_factor(request: HttpRequest) -> HttpResponse:
    """Asked for after the password or the provider, before anybody is signed in."""
    stage = LoginStageController.enter(request, AuthenticateStage.key)
    if request.user.is_authenticated or stage is None:
        return redirect_to(request, reverse("sign_in"))
    user: User = stage.login.user
    attempt = Attempt()
    if request.method == "POST":
        attempt = login_throttle.count_second_factor(request, user.get_username())
    form = SecondFactorForm(request.POST or None, user=user, attempt=attempt)
    if form.is_valid() and form.authenticator is not None:
        attempt.forgive()
        post_authentication(request, form.authenticator)
        second_factor.prove(request, user)
        response: HttpResponse = stage.exit()
        login_throttle.remember_browser(request, response, user.get_username())
        return response
    return _asked(request, "sign_in/second_factor.html", form, user, attempt)


@signed_in
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def confirm_password(request: PageRequest) -> HttpResponse:
    if not request.user.has_usable_password():
        return redirect_to(request, reverse("security"))
    attempt = Attempt()
    if request.method == "POST":
        attempt = login_throttle.count_sign_in(request, request.user.get_username())
    form = ConfirmPasswordForm(request.POST or None, user=request.user, attempt=attempt)
    if form.is_valid():
        attempt.forgive()
        record_authentication(request, request.user, "password", reauthenticated=True)
        return resume_request(request) or redirect_to(request, reverse("security"))
    context = {"form": form, "next": _next(request)}
    return _answered(request, "sign_in/confirm.html", context, form, request.user, attempt)


@signed_in
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def confirm_factor(request: PageRequest) -> HttpResponse:
    """Also proves the second factor to a team that requires one."""
    user = request.user
    if not second_factor.has_factor(user):
        return redirect_to(request, reverse("security"))
    attempt = Attempt()
    if request.method == "POST":
        attempt = login_throttle.count_second_factor(request, user.get_username())
    form = SecondFactorForm(request.POST or None, user=user, attempt=attempt)
    if form.is_valid() and form.authenticator is not None:
        attempt.forgive()
        form.authenticator.user = user
        post_authentication(request, form.authenticator, reauthenticated=True)
        second_factor.prove(request, user)
        return resume_request(request) or redirect_to(request, reverse("security"))
    return _asked(request, "sign_in/confirm.html", form, user, attempt)


@signed_in
@require_safe
def second_factor_required(request: PageRequest) -> HttpResponse:
    """Where pages of a team that requires a second factor lead to, until this session has seen one."""
    if second_factor.has_factor(request.user):
        confirm = reverse("mfa_reauthenticate")
        return redirect_to(request, redirect_to_login(_next(request), confirm).url)
    return page(request, "sign_in/required.html", {"next": _next(request)})


def _next(request: HttpRequest) -> str:
    return request.POST.get("next") or request.GET.get("next") or ""


def _asked(
    request: HttpRequest, template: str, form: SecondFactorForm, user: User, attempt: Attempt
) -> HttpResponse:
    """The page that asks for a code, or for the security keys of `user`."""
    kinds = set(Authenticator.objects.filter(user=user).values_list("type", flat=True))
    context: dict[str, Any] = {"form": form, "next": _next(request), "kinds": kinds}
    if Authenticator.Type.WEBAUTHN in kinds:
        context["key_options"] = json.dumps(webauthn.begin_authentication(user))
    return _answered(request, template, context, form, user, attempt)


def _answered(
    request: HttpRequest, template: str, context: dict[str, Any], form: Any, user: User, attempt: Attempt
) -> HttpResponse:
    status = 429 if attempt.is_refused else 422 if form.is_bound else 200
    if status == 422:
        step = "confirmation" if request.user.is_authenticated else "second factor"
        audit.record(audit.Kind.SIGN_IN_FAILED, target=user, step=step)
        attempt.record_block(audit.Kind.SIGN_IN_BLOCKED)
    response = page(request, template, context, status=status)
    if attempt.is_refused:
        response["Retry-After"] = str(attempt.wait_s)
    return response
