"""The page of a person's access tokens, and what it shares with the page of a service account."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.reauthentication import raise_if_reauthentication_required
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from exeml_site.lib.display import count
from exeml_site.lib.http import page, redirect_to, signed_in
from projects.access import PageRequest, has_proven_factor, lead_to_factor
from projects.forms.sign_in.access_tokens import AccessTokenForm
from projects.sign_in import access_tokens as actions
from projects.sign_in import second_factor
from projects.sign_in.second_factor import APP


@signed_in
@never_cache
@require_safe
def access_tokens(request: PageRequest) -> HttpResponse:
    return _tokens(request)


@signed_in
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def create_access_token(request: PageRequest) -> HttpResponseBase:
    """The response to a POST is the page, without a redirect: the token is shown once, in no address."""
    if question := prove_person(request):
        return question
    form, plain = created_token(request, request.user)
    if plain:
        return _tokens(request, token=plain)
    context = {"form": form, "back": reverse("access_tokens")}
    return page(request, "sign_in/new_access_token.html", context, status=422 if form.is_bound else 200)


@signed_in
@require_POST
def revoke_access_token(request: PageRequest, access_token_id: int) -> HttpResponse:
    revoke(request, request.user, access_token_id)
    return redirect_to(request, reverse("access_tokens"))


def _tokens(request: PageRequest, token: str = "") -> HttpResponse:
    context = {
        "rows": token_rows(request.user, "revoke_access_token"),
        "token": token,
        "new_url": reverse("create_access_token"),
    }
    return page(request, "sign_in/access_tokens.html", context)


# --- Also for tokens of service accounts ---


def prove_person(request: PageRequest) -> HttpResponseBase | None:
    """None once whoever creates a token has confirmed who they are, with a second factor if they have one.

    Raises ReauthenticationRequired, which leads to the confirmation and back.
    """
    raise_if_reauthentication_required(request, app=APP)
    if second_factor.has_factor(request.user) and not has_proven_factor(request):
        return lead_to_factor(request)
    return None


def created_token(request: PageRequest, owner: User) -> tuple[AccessTokenForm, str]:
    """The form and, if it was sent and is valid, the plain text of the new token."""
    form = AccessTokenForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            _, token = actions.create(
                owner,
                **form.cleaned_data,
                by=request.user,
                has_second_factor=has_proven_factor(request),
            )
        except actions.AccessTokenRefused as refused:
            form.add_error("name", str(refused))
        else:
            return form, token.plain
    return form, ""


def revoke(request: HttpRequest, owner: User, token_id: int) -> None:
    token = get_object_or_404(actions.unrevoked(owner).select_related("user"), pk=token_id)
    if not actions.revoke(token, by=request.user):  # type: ignore[arg-type]
        raise Http404
    messages.success(request, gettext("Token “%(name)s” revoked.") % {"name": token.name})


def revoke_asked(request: HttpRequest, user: User) -> None:
    """Revoke the tokens of `user` where the check box that offers it is checked."""
    if actions.REVOKE_FIELD in request.POST and (revoked := actions.revoke_all(user, by=user)):
        sentence = ngettext("%(count)s access token revoked.", "%(count)s access tokens revoked.", revoked)
        messages.success(request, sentence % {"count": count(revoked)})


def token_rows(owner: User, revoke_name: str, *place: int) -> list[dict[str, Any]]:
    """The tokens of the account, each with the address that revokes it."""
    return [
        {"token": token, "revoke_url": reverse(revoke_name, args=[*place, token.pk])}
        for token in actions.unrevoked(owner)
    ]
