"""Teams of the token's owner, and their members."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from django.db.models import Count, Q
from ninja import Field, Query, Router, Schema

from projects.api.account import role_name
from projects.api.core import problems
from projects.api.core.access import ApiRequest, account_call, team_call
from projects.api.core.body import Body
from projects.api.core.idempotency import once
from projects.api.core.pages import PageParams, page_of
from projects.forms.teams import AddMemberForm
from projects.models import Membership, Role, Scope, Team
from projects.workspace import members

router = Router(tags=["Teams"])

RoleName = Literal["viewer", "labeler", "reviewer", "manager"]


def role_of(name: RoleName) -> Role:
    return Role[name.upper()]


class TeamOut(Schema):
    id: int
    name: str
    role: str = Field(description="Of the token’s owner.")
    second_factor_required: bool
    member_count: int = Field(description="People, without service accounts.")
    service_account_count: int
    created_at: datetime

    @classmethod
    def of(cls, team: Team, role: int, people: int, accounts: int) -> TeamOut:
        return cls(
            id=team.pk,
            name=team.name,
            role=role_name(role),
            second_factor_required=team.second_factor_required,
            member_count=people,
            service_account_count=accounts,
            created_at=team.created_at,
        )


class TeamPage(Schema):
    items: list[TeamOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class MemberOut(Schema):
    user_id: int
    username: str
    full_name: str
    email: str
    role: str
    is_service_account: bool
    is_active: bool
    joined_at: datetime

    @classmethod
    def of(cls, membership: Membership) -> MemberOut:
        user = membership.user
        return cls(
            user_id=user.pk,
            username=user.get_username(),
            full_name=user.get_full_name(),
            email=user.email,
            role=role_name(membership.role),
            is_service_account=hasattr(user, "service_account"),
            is_active=user.is_active,
            joined_at=membership.joined_at,
        )


class MemberPage(Schema):
    items: list[MemberOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class NewMember(Body):
    username: str = Field(description="The username of an account, or an e-mail that one account alone has.")
    role: RoleName = "labeler"


class MemberChange(Body):
    role: RoleName


@router.get("/teams", response=TeamPage)
@account_call(Scope.READ)
def list_teams(request: ApiRequest, params: Query[PageParams]) -> TeamPage:
    """Your teams, the newest first."""
    teams, cursor = page_of(Team.objects.filter(memberships__user=request.user), params)
    return TeamPage(items=_teams_out(request, teams), next=cursor)


@router.get("/teams/{int:team_id}", response=TeamOut)
@team_call(Role.VIEWER, Scope.READ)
def show_team(request: ApiRequest, team: Team) -> TeamOut:
    """One team, with your role in it."""
    return _teams_out(request, [team])[0]


@router.get("/teams/{int:team_id}/members", response=MemberPage)
@team_call(Role.VIEWER, Scope.READ)
def list_members(request: ApiRequest, team: Team, params: Query[PageParams]) -> MemberPage:
    """The members and their roles, service accounts included, in the order in which they joined."""
    memberships = team.memberships.select_related("user__service_account")
    rows, cursor = page_of(memberships, params, is_newest_first=False)
    return MemberPage(items=[MemberOut.of(row) for row in rows], next=cursor)


@router.post("/teams/{int:team_id}/members", response=MemberOut)
@team_call(Role.MANAGER, Scope.ADMIN)
@once
def add_team_member(request: ApiRequest, team: Team, body: NewMember) -> MemberOut:
    """Add a person who has an account."""
    form = AddMemberForm({"person": body.username, "role": role_of(body.role)}, team=team)
    if not form.is_valid():
        raise problems.of_form(form, {"person": "username"})
    person, role = form.cleaned_data["person"], form.cleaned_data["role"]
    return MemberOut.of(members.add_member(team, person, role))


@router.get("/teams/{int:team_id}/members/{int:user_id}", response=MemberOut)
@team_call(Role.VIEWER, Scope.READ)
def show_member(request: ApiRequest, team: Team, user_id: int) -> MemberOut:
    """One member."""
    return MemberOut.of(_member(team, user_id))


@router.patch("/teams/{int:team_id}/members/{int:user_id}", response=MemberOut)
@team_call(Role.MANAGER, Scope.ADMIN)
def change_member_role(request: ApiRequest, team: Team, user_id: int, body: MemberChange) -> MemberOut:
    """Change the role of a person or of a service account. The last Manager of a team stays one."""
    members.change_role(_member(team, user_id), role_of(body.role))
    return MemberOut.of(_member(team, user_id))


@router.delete("/teams/{int:team_id}/members/{int:user_id}", response={204: None})
@team_call(Role.MANAGER, Scope.ADMIN)
def remove_team_member(request: ApiRequest, team: Team, user_id: int) -> None:
    """Remove a person from the team; images and labels stay. Service accounts are deleted instead."""
    members.remove_member(_member(team, user_id))


def _member(team: Team, user_id: int) -> Membership:
    membership = team.memberships.select_related("user__service_account").filter(user=user_id).first()
    if membership is None:
        raise problems.not_found()
    return membership


def _teams_out(request: ApiRequest, teams: list[Team]) -> list[TeamOut]:
    memberships = Membership.objects.filter(team__in=teams)
    roles = dict(memberships.filter(user=request.user).values_list("team", "role"))
    is_account = Count("pk", filter=~Q(user__service_account=None))
    counted = memberships.order_by().values_list("team").annotate(total=Count("pk"), accounts=is_account)
    counts = {team: (total - accounts, accounts) for team, total, accounts in counted}
    return [TeamOut.of(team, roles[team.pk], *counts[team.pk]) for team in teams]
