"""Service accounts of a team: created on the page of the members, with a page of their own for tokens."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from exeml_site.lib.http import page, redirect_to
from projects.access import PageRequest, team_page
from projects.forms.sign_in.service_accounts import ServiceAccountForm
from projects.models import Role, ServiceAccount, Team
from projects.sign_in import service_accounts as actions
from projects.views.sign_in.access_tokens import created_token, prove_person, revoke, token_rows
from projects.views.teams import members_page


@team_page(Role.MANAGER)
@require_POST
def create_service_account(request: PageRequest, team: Team) -> HttpResponse:
    form = ServiceAccountForm(request.POST, auto_id="id_account_%s")
    if form.is_valid():
        try:
            account = actions.create(team, **form.cleaned_data, by=request.user)
        except actions.ServiceAccountRefused as refused:
            form.add_error("name", str(refused))
        else:
            return redirect_to(request, _address("service_account", account))
    return members_page(request, team, account_form=form, status=422)


@team_page(Role.MANAGER)
@never_cache
@require_safe
def service_account(request: PageRequest, team: Team, account_id: int) -> HttpResponse:
    return _account(request, find_account(team, account_id))


@team_page(Role.MANAGER)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def create_account_token(request: PageRequest, team: Team, account_id: int) -> HttpResponseBase:
    """The response to a POST is the page, without a redirect: the token is shown once, in no address."""
    account = find_account(team, account_id)
    if question := prove_person(request):
        return question
    form, plain = created_token(request, account.user)
    if plain:
        return _account(request, account, token=plain)
    context = {"form": form, "account": account, "back": _address("service_account", account)}
    return page(request, "sign_in/new_access_token.html", context, status=422 if form.is_bound else 200)


@team_page(Role.MANAGER)
@require_POST
def revoke_account_token(
    request: PageRequest, team: Team, account_id: int, account_token_id: int
) -> HttpResponse:
    account = find_account(team, account_id)
    revoke(request, account.user, account_token_id)
    return redirect_to(request, _address("service_account", account))


@team_page(Role.MANAGER)
@require_POST
def delete_service_account(request: PageRequest, team: Team, account_id: int) -> HttpResponse:
    account = find_account(team, account_id)
    if not actions.delete(account, by=request.user):
        raise Http404
    sentence = gettext("Service account “%(name)s” deleted. Its tokens no longer work.")
    messages.success(request, sentence % {"name": account.name})
    return redirect_to(request, reverse("team_members", args=[team.pk]))


def find_account(team: Team, account_id: int) -> ServiceAccount:
    accounts = team.service_accounts.alive().select_related("user", "team")
    return get_object_or_404(accounts, pk=account_id)


def _address(name: str, account: ServiceAccount) -> str:
    return reverse(name, args=[account.team_id, account.pk])


def _account(request: PageRequest, account: ServiceAccount, token: str = "") -> HttpResponse:
    context = {
        "account": account,
        "team": account.team,
        "role": account.user.memberships.get().get_role_display(),
        "rows": token_rows(account.user, "revoke_account_token", account.team_id, account.pk),
        "token": token,
        "new_url": _address("create_account_token", account),
    }
    return page(request, "sign_in/service_account.html", context)
