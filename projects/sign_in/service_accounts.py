"""Accounts of programs in a team: created by a Manager, used with tokens alone, never signed in with."""

from __future__ import annotations

from itertools import count

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.errors import Refused
from projects import audit
from projects.models import Membership, Role, ServiceAccount, Team
from projects.sign_in import access_tokens

MAX_ACCOUNTS = 50  # of a team
NO_SIGN_IN = gettext_lazy("Nobody can sign in with a service account. Programs use its tokens.")


class ServiceAccountRefused(Refused):
    """The service account cannot be created; the message tells the user why."""


def is_service_account(user: User) -> bool:
    """Also one that was deleted."""
    return hasattr(user, "service_account")


def create(team: Team, name: str, role: Role, *, by: User) -> ServiceAccount:
    """Raises ServiceAccountRefused for a name that another one of the team has, and at MAX_ACCOUNTS."""
    taken = gettext("There is already a service account “%(name)s”. Choose another name.") % {"name": name}
    with transaction.atomic():
        existing = Team.objects.select_for_update().get(pk=team.pk).service_accounts.alive()
        if existing.filter(name__iexact=name).exists():
            raise ServiceAccountRefused(taken)
        if existing.count() >= MAX_ACCOUNTS:
            text = gettext("A team has at most %(limit)s service accounts. Delete one first.")
            raise ServiceAccountRefused(text % {"limit": MAX_ACCOUNTS})
        user = User(username=_free_username(name))
        user.set_unusable_password()
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError as error:  # another team took the username meanwhile
            raise ServiceAccountRefused(taken) from error
        account = ServiceAccount.objects.create(user=user, team=team, name=name, created_by=by)
        Membership.objects.create(team=team, user=user, role=role)
        audit.record(
            audit.Kind.SERVICE_ACCOUNT_CREATED, team=team, target=user, by=by, role=role.name.title()
        )
    return account


def delete(account: ServiceAccount, *, by: User) -> bool:
    """Its tokens stop working at once; what it did stays in the history. False if it was deleted before."""
    with transaction.atomic():
        alive = ServiceAccount.objects.alive().filter(pk=account.pk)
        if not alive.update(deleted_at=timezone.now()):
            return False
        access_tokens.revoke_all(account.user, by=by)
        Membership.objects.filter(user=account.user_id).delete()
        User.objects.filter(pk=account.user_id).update(is_active=False)
        audit.record(audit.Kind.SERVICE_ACCOUNT_DELETED, team=account.team, target=account.user, by=by)
    return True


def _free_username(name: str) -> str:
    """“nightly (service account)”, which everybody who reads it in a history recognizes.

    No person has such a name: Django's rule of usernames knows neither spaces nor parentheses.
    """
    taken = set(User.objects.filter(username__startswith=f"{name} (").values_list("username", flat=True))
    names = (f"{name} (service account{f' {number}' if number > 1 else ''})" for number in count(1))
    return next(each for each in names if each not in taken)
