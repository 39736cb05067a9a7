"""Sign-in with the OpenID Connect provider of the settings."""

from __future__ import annotations

from allauth.account.internal.stagekit import clear_login
from django.conf import settings
from django.contrib.auth import logout
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.http import page, public, redirect_to
from projects.sign_in import back_channel_logout, identities, invitations, oidc, second_factor, sessions
from projects.sign_in.identities import ProviderUnavailable, SignInRefused
from projects.workspace import login_throttle

HAS_SECOND_FACTOR = "mfa"  # in the claim `amr` (RFC 8176): the provider has asked for one


@public
@never_cache
@require_safe
def begin_oidc(request: HttpRequest) -> HttpResponse:
    """A page of another site cannot begin a sign-in here: it takes a click on ours."""
    if settings.OIDC is None:
        raise Http404
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return redirect_to(request, reverse("sign_in"))
    try:
        return oidc.begin(request, _own_page(request, request.GET.get("next", "")))
    except SignInRefused as refused:
        return _refused(request, refused)


@public
@never_cache
@require_safe
def finish_oidc(request: HttpRequest) -> HttpResponse:
    if settings.OIDC is None:
        raise Http404
    try:
        identity, next_url = oidc.finish(request)
        is_invited = invitations.is_open(request)
        user = identities.account_of(identity, is_invited=is_invited)
    except SignInRefused as refused:
        return _refused(request, refused)
    if request.user.is_authenticated and request.user != user:
        logout(request)
    clear_login(request)  # a sign-in of somebody else that waits for a second factor
    request.session[sessions.PROVIDER_SESSION] = str(identity.claims.get("sid") or "")
    methods = identity.claims.get("amr")
    if isinstance(methods, list) and HAS_SECOND_FACTOR in methods:
        second_factor.prove(request, user)
    return second_factor.sign_in(
        request, user, next_url or reverse("project_list"), "socialaccount", provider=identity.provider
    )


@public
@csrf_exempt
@never_cache
@require_POST
def end_oidc_sessions(request: HttpRequest) -> HttpResponse:
    """The provider calls it when somebody has signed out there, or may no longer sign in."""
    if settings.OIDC is None:
        raise Http404
    try:
        back_channel_logout.end_sessions(request)
    except ProviderUnavailable:
        return JsonResponse({"error": "temporarily_unavailable"}, status=502)
    except SignInRefused:
        attempt = login_throttle.count_wrong_token(request)
        return JsonResponse({"error": "invalid_request"}, status=429 if attempt.is_refused else 400)
    return HttpResponse()


def _own_page(request: HttpRequest, url: str) -> str:
    is_ours = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    return url if is_ours else ""


def _refused(request: HttpRequest, refused: SignInRefused) -> HttpResponse:
    status = 502 if isinstance(refused, ProviderUnavailable) else 403
    return page(
        request, "sign_in/refused.html", {"reason": str(refused), "oidc": settings.OIDC}, status=status
    )
