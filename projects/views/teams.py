"""The members of a team and their roles."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.http import page, redirect_to
from projects.access import PageRequest, team_page
from projects.forms.sign_in.service_accounts import ServiceAccountForm
from projects.forms.teams import AddMemberForm, RoleForm
from projects.models import AccessToken, Membership, Role, Team
from projects.workspace import members

ROLES = [
    (Role.MANAGER, gettext_lazy("Has all rights: creates projects, trains, deploys, manages members.")),
    (Role.REVIEWER, gettext_lazy("Labels, and confirms or rejects what others labeled.")),
    (Role.LABELER, gettext_lazy("Uploads and labels images.")),
    (Role.VIEWER, gettext_lazy("Sees everything, changes nothing.")),
]


@team_page(Role.VIEWER)
@require_safe
def team_members(request: PageRequest, team: Team) -> HttpResponse:
    return members_page(request, team)


@team_page(Role.MANAGER)
@require_POST
def add_member(request: PageRequest, team: Team) -> HttpResponse:
    form = AddMemberForm(request.POST, team=team)
    if form.is_valid():
        person, role = form.cleaned_data["person"], form.cleaned_data["role"]
        try:
            members.add_member(team, person, role)
        except members.MemberRefused as refused:
            form.add_error("person", str(refused))
        else:
            return _done(request, team, _role_text(person, role, team))
    return members_page(request, team, form=form, status=422)


@team_page(Role.MANAGER)
@require_POST
def change_member(request: PageRequest, team: Team, user_id: int) -> HttpResponse:
    membership = get_object_or_404(team.memberships.select_related("user"), user=user_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        return members_page(
            request, team, refusal=gettext("Choose one of the four roles."), refused=membership, status=422
        )
    role = form.cleaned_data["role"]
    is_asked = membership.user == request.user and role < membership.role and "confirm" not in request.POST
    if is_asked and not members.is_last_manager(membership):
        context = {"team": team, "role": role, "own_role": Role(membership.role)}
        return page(request, "accounts/own_role.html", context)
    try:
        members.change_role(membership, role)
    except members.MemberRefused as refused:
        return members_page(request, team, refusal=str(refused), refused=membership, status=409)
    return _done(request, team, _role_text(membership.user, role, team))


@team_page(Role.MANAGER)
@require_POST
def remove_member(request: PageRequest, team: Team, user_id: int) -> HttpResponse:
    membership = get_object_or_404(team.memberships.select_related("user"), user=user_id)
    try:
        members.remove_member(membership)
    except members.MemberRefused as refused:
        return members_page(request, team, refusal=str(refused), refused=membership, status=409)
    if membership.user == request.user:
        messages.success(request, gettext("You left %(team)s.") % {"team": team})
        return redirect_to(request, reverse("project_list"))
    sentence = gettext("%(user)s is no longer a member of %(team)s.")
    return _done(request, team, sentence % {"user": membership.user, "team": team})


@team_page(Role.MANAGER)
@require_POST
def require_second_factor(request: PageRequest, team: Team) -> HttpResponse:
    """Whoever requires it is led to set one up first, as everybody else."""
    members.require_second_factor(team, request.POST.get("required") == "yes")
    sentence = (
        gettext("Members of %(team)s now need a second factor.")
        if team.second_factor_required
        else gettext("Members of %(team)s no longer need a second factor.")
    )
    return _done(request, team, sentence % {"team": team})


def _role_text(user: User, role: Role, team: Team) -> str:
    sentence = gettext("%(user)s now has the role %(role)s in %(team)s.")
    return sentence % {"user": user, "role": role.label, "team": team}


def _done(request: PageRequest, team: Team, message: str) -> HttpResponse:
    """Redirect to the members page, which former Managers may see as well."""
    messages.success(request, message)
    return redirect_to(request, reverse("team_members", args=[team.pk]))


def members_page(
    request: PageRequest,
    team: Team,
    *,
    form: AddMemberForm | None = None,
    account_form: ServiceAccountForm | None = None,
    refusal: str = "",
    refused: Membership | None = None,
    status: int = 200,
) -> HttpResponse:
    """The members page; `refusal` is shown beside the member `refused`."""
    rows = list(team.memberships.people().select_related("user").order_by("-role", "user__username"))
    context: dict[str, Any] = {"team": team, "members": rows, "roles": ROLES}
    context["accounts"] = _service_accounts(team)
    context["is_ruled"] = any(rule.team == team.name for rule in settings.SIGN_IN_TEAMS)
    managers = [membership.pk for membership in rows if membership.role == Role.MANAGER]
    if len(managers) == 1:
        context |= {"last_manager": managers[0], "last_manager_text": members.LAST_MANAGER}
    if request.membership.role >= Role.MANAGER:
        context |= {"form": form or AddMemberForm(team=team), "refusal": refusal, "refused": refused}
        context["account_form"] = account_form or ServiceAccountForm(auto_id="id_account_%s")
    return page(request, "accounts/teams.html", context, status=status)


def _service_accounts(team: Team) -> QuerySet[Membership]:
    """Their memberships, with the number of tokens that work."""
    valid = Count("user__access_tokens", filter=Q(user__access_tokens__in=AccessToken.objects.valid()))
    accounts = team.memberships.exclude(user__service_account=None)
    return accounts.select_related("user__service_account").annotate(tokens=valid)
