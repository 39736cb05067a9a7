"""The members of a team. A team with members always has at least one Manager."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.errors import Refused
from projects import audit
from projects.models import Membership, Role, Team

IS_SERVICE_ACCOUNT = gettext_lazy("This is a service account. Delete it instead.")
LAST_MANAGER = gettext_lazy("A team needs at least one Manager. Make somebody else a Manager first.")


class MemberRefused(Refused):
    """The change would break a rule; the message is for the user."""


def add_member(team: Team, user: User, role: Role) -> Membership:
    """Add a member. Raises `MemberRefused` if another Manager added the same person meanwhile."""
    try:
        with transaction.atomic():
            membership = Membership.objects.create(team=team, user=user, role=role)
            audit.record(audit.Kind.MEMBER_ADDED, team=team, target=user, role=role.name.title())
            return membership
    except IntegrityError as error:
        sentence = gettext("%(person)s is already a member of %(team)s.")
        raise MemberRefused(sentence % {"person": user, "team": team}) from error


@transaction.atomic
def change_role(membership: Membership, role: Role) -> None:
    """Change a member's role. Raises `MemberRefused` if the team would have no Manager."""
    _lock(membership.team_id)
    if role < Role.MANAGER and is_last_manager(membership):
        raise MemberRefused(LAST_MANAGER)
    before = Role(Membership.objects.values_list("role", flat=True).get(pk=membership.pk))
    if Membership.objects.filter(pk=membership.pk).update(role=role) and role != before:
        record_role(membership, before, role)


@transaction.atomic
def remove_member(membership: Membership) -> None:
    """Remove a member. Raises `MemberRefused` if the team would have no Manager, and for service accounts."""
    _lock(membership.team_id)
    if hasattr(membership.user, "service_account"):
        raise MemberRefused(IS_SERVICE_ACCOUNT)
    if is_last_manager(membership):
        raise MemberRefused(LAST_MANAGER)
    if Membership.objects.filter(pk=membership.pk).delete()[0]:
        audit.record(audit.Kind.MEMBER_REMOVED, team=membership.team, target=membership.user)


@transaction.atomic
def give_role(team: Team, user: User, role: Role, *, is_lowered: bool = True, **why: Any) -> None:
    """Let `user` be a member with this role, whoever they are; `why` stands in the audit log.

    A member with a higher role keeps it unless `is_lowered`.
    """
    membership, is_new = Membership.objects.get_or_create(team=team, user=user, defaults={"role": role})
    if is_new:
        audit.record(audit.Kind.MEMBER_ADDED, team=team, target=user, role=role.name.title(), **why)
        return
    before = Role(membership.role)
    if before < role or (is_lowered and before > role):
        membership.role = role
        membership.save(update_fields=["role"])
        record_role(membership, before, role, **why)


def record_role(membership: Membership, before: Role, role: Role, **why: Any) -> None:
    audit.record(
        audit.Kind.ROLE_CHANGED,
        team=membership.team,
        target=membership.user,
        before=before.name.title(),
        role=role.name.title(),
        **why,
    )


@transaction.atomic
def require_second_factor(team: Team, is_required: bool) -> None:
    changed = Team.objects.filter(pk=team.pk, second_factor_required=not is_required)
    if changed.update(second_factor_required=is_required):
        audit.record(audit.Kind.FACTOR_REQUIRED, team=team, is_required=is_required)
    team.second_factor_required = is_required


def is_last_manager(membership: Membership) -> bool:
    """Service accounts with the role do not count: a person has to be there."""
    managers = Membership.objects.people().filter(team=membership.team_id, role=Role.MANAGER)
    return set(managers.values_list("pk", flat=True)) == {membership.pk}


def _lock(team_id: int) -> None:
    """Lock the team's row, so that two Managers cannot both step down at once (SQLite has one writer)."""
    Team.objects.select_for_update().get(pk=team_id)
