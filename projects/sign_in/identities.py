"""The account of a person whom a provider has identified; its roles follow the provider at each sign-in."""

from __future__ import annotations

from allauth.socialaccount.models import SocialAccount
from allauth.utils import generate_unique_username
from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.errors import Refused
from projects import audit
from projects.models import Membership, Team
from projects.sign_in.claims import Identity, roles_of, ruled_teams
from projects.sign_in.service_accounts import NO_SIGN_IN, is_service_account
from projects.workspace import members

INACTIVE = gettext_lazy("This account is switched off. Ask an operator.")
NO_ACCOUNT = gettext_lazy("There is no account for you here yet. Ask a Manager of your team or an operator.")


class SignInRefused(Refused):
    """The provider knows the person, but this site does not let them in; the message says why."""


def account_of(identity: Identity, *, is_invited: bool = False) -> User:
    """The account of `identity`, with its roles of today. Raises `SignInRefused`.

    Known is whoever has signed in before, or whose verified e-mail belongs to exactly one account. Others get
    an account if a rule gives them a role, or if they are invited: nobody registers.
    """
    with transaction.atomic():
        user = _linked(identity) or _linked_by_email(identity)
        if user is not None and is_service_account(user):
            raise SignInRefused(NO_SIGN_IN)
        if user is not None and not user.is_active:
            raise SignInRefused(INACTIVE)
        if user is None:
            if not roles_of(identity.claims) and not is_invited:
                raise SignInRefused(NO_ACCOUNT)
            user = _create(identity)
        follow_claims(user, identity)
    if ruled_teams() and not (is_invited or user.is_staff or user.memberships.exists()):
        raise SignInRefused(gettext("Your account no longer gives access to a team here. Ask an operator."))
    return user


@transaction.atomic
def follow_claims(user: User, identity: Identity) -> None:
    """Give the roles that the claims say, and take those that they no longer say.

    Teams that no rule names are left alone. The provider has the last word, also on the last Manager.
    """
    roles = roles_of(identity.claims)
    for name, role in roles.items():
        team, _ = Team.objects.get_or_create(name=name)
        members.give_role(team, user, role, provider=identity.provider)
    lost = ruled_teams() - roles.keys()
    for membership in Membership.objects.filter(user=user, team__name__in=lost).select_related("team"):
        membership.delete()
        audit.record(audit.Kind.MEMBER_REMOVED, team=membership.team, target=user, provider=identity.provider)


def _linked(identity: Identity) -> User | None:
    linked = SocialAccount.objects.select_related("user").filter(provider=identity.provider, uid=identity.uid)
    account = linked.first()
    return account.user if account else None


def _linked_by_email(identity: Identity) -> User | None:
    """The only account with the verified e-mail, unless the provider knows it as somebody else."""
    if not identity.email:
        return None
    users = list(User.objects.filter(email__iexact=identity.email, service_account=None)[:2])
    if len(users) != 1:
        return None
    if SocialAccount.objects.filter(provider=identity.provider, user=users[0]).exists():
        raise SignInRefused(
            gettext("The account with your e-mail belongs to somebody else at the provider. Ask an operator.")
        )
    _link(users[0], identity)
    return users[0]


def _create(identity: Identity) -> User:
    names = [identity.username, identity.email, identity.full_name, "user"]
    first, _, last = identity.full_name.partition(" ")
    user = User(
        username=generate_unique_username(names),
        first_name=first[:150],
        last_name=last[:150],
        email=identity.email,
    )
    user.set_unusable_password()
    user.save()
    audit.record(audit.Kind.ACCOUNT_CREATED, target=user, provider=identity.provider)
    _link(user, identity)
    return user


def _link(user: User, identity: Identity) -> None:
    SocialAccount.objects.create(user=user, provider=identity.provider, uid=identity.uid)
