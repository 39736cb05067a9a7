"""The page of an account's security: second factors and sessions."""

from __future__ import annotations

import base64
import json
from typing import Any

from allauth.account.internal.flows.reauthentication import raise_if_reauthentication_required
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.flows import can_generate_recovery_codes, view_recovery_codes
from allauth.mfa.webauthn.internal import auth as webauthn
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from exeml_site.lib.display import count
from exeml_site.lib.http import page, redirect_to, signed_in
from projects.access import PageRequest
from projects.forms.sign_in.second_factor import AddKeyForm, SetUpAppForm
from projects.sign_in import access_tokens, second_factor, sessions
from projects.sign_in.adapters import SecondFactorAdapter
from projects.sign_in.second_factor import APP, Type
from projects.views.sign_in.access_tokens import revoke_asked


@signed_in
@never_cache
@require_safe
def security(request: PageRequest) -> HttpResponse:
    factors = list(Authenticator.objects.filter(user=request.user).order_by("created_at"))
    codes = next((factor for factor in factors if factor.type == Type.RECOVERY_CODES), None)
    context = {
        "app": next((factor for factor in factors if factor.type == Type.TOTP), None),
        "keys": [factor for factor in factors if factor.type == Type.WEBAUTHN],
        "codes": codes,
        "codes_left": len(codes.wrap().get_unused_codes()) if codes else 0,
        "sessions": sessions.sessions_of(request),
        "provider": settings.OIDC and SocialAccount.objects.filter(user=request.user).exists(),
        "oidc": settings.OIDC,
        "has_tokens": access_tokens.unrevoked(request.user).exists(),
    }
    return page(request, "sign_in/security.html", context)


@signed_in
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def set_up_app(request: PageRequest) -> HttpResponse:
    raise_if_reauthentication_required(request, app=APP)
    if Authenticator.objects.filter(user=request.user, type=Type.TOTP).exists():
        return redirect_to(request, reverse("security"))
    form = SetUpAppForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        codes = second_factor.set_up_app(request, form)
        return _added(request, gettext("Sign-in now asks for a code of your app."), codes)
    adapter = SecondFactorAdapter()
    picture = adapter.build_totp_svg(adapter.build_totp_url(request.user, form.secret))
    context = {
        "form": form,
        "secret": " ".join(form.secret[start : start + 4] for start in range(0, len(form.secret), 4)),
        "picture": f"data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()}",
    }
    return page(request, "sign_in/set_up_app.html", context, status=422 if form.is_bound else 200)


@signed_in
@require_POST
def remove_app(request: PageRequest) -> HttpResponse:
    raise_if_reauthentication_required(request, app=APP)
    authenticator = get_object_or_404(Authenticator, user=request.user, type=Type.TOTP)
    return _removed(request, authenticator, gettext("Sign-in no longer asks for a code of the app."))


@signed_in
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def add_key(request: PageRequest) -> HttpResponse:
    raise_if_reauthentication_required(request, app=APP)
    form = AddKeyForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        name = form.cleaned_data["name"] or SecondFactorAdapter().generate_authenticator_name(
            request.user, Type.WEBAUTHN
        )
        codes = second_factor.add_key(request, name, form.cleaned_data["credential"])
        return _added(request, gettext("Security key %(name)s added.") % {"name": name}, codes)
    context = {"form": form, "key_options": json.dumps(webauthn.begin_registration(request.user, False))}
    return page(request, "sign_in/add_key.html", context, status=422 if form.is_bound else 200)


@signed_in
@require_POST
def remove_key(request: PageRequest, key_id: int) -> HttpResponse:
    raise_if_reauthentication_required(request, app=APP)
    key = get_object_or_404(Authenticator, user=request.user, type=Type.WEBAUTHN, pk=key_id)
    return _removed(request, key, gettext("Security key %(name)s removed.") % {"name": key.wrap().name})


@signed_in
@never_cache
@require_safe
def recovery_codes(request: PageRequest) -> HttpResponse:
    codes, _ = view_recovery_codes(request)
    if codes is None:
        return redirect_to(request, reverse("security"))
    return page(request, "sign_in/recovery_codes.html", {"codes": codes.get_unused_codes()})


@signed_in
@require_POST
def renew_codes(request: PageRequest) -> HttpResponse:
    if not can_generate_recovery_codes(request.user):
        raise Http404
    second_factor.renew_codes(request)
    messages.success(request, gettext("The former recovery codes are no longer accepted."))
    return redirect_to(request, reverse("recovery_codes"))


@signed_in
@require_POST
def end_session(request: PageRequest, session_id: int) -> HttpResponse:
    if not sessions.end(request.user, session_id):
        raise Http404
    messages.success(request, gettext("Signed out there."))
    return redirect_to(request, reverse("security"))


@signed_in
@require_POST
def end_other_sessions(request: PageRequest) -> HttpResponse:
    ended = sessions.end_others(request)
    sentence = ngettext(
        "Signed out everywhere else: %(count)s session.",
        "Signed out everywhere else: %(count)s sessions.",
        ended,
    )
    messages.success(request, sentence % {"count": count(ended)})
    revoke_asked(request, request.user)
    return redirect_to(request, reverse("security"))


def _added(request: PageRequest, message: str, codes: Any) -> HttpResponse:
    """Recovery codes are made with the first factor and shown at once."""
    second_factor.prove(request, request.user)
    messages.success(request, message)
    return redirect_to(request, reverse("recovery_codes" if codes else "security"))


def _removed(request: PageRequest, authenticator: Authenticator, message: str) -> HttpResponse:
    second_factor.remove(request, authenticator)
    messages.success(request, message)
    return redirect_to(request, reverse("security"))
