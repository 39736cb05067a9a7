"""People who are locked out after too many wrong passwords, and how an operator lets them in."""

from __future__ import annotations

from functools import reduce
from operator import or_

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, Value
from django.db.models.functions import Concat
from django.utils import timezone

from projects import audit
from projects.models import FailedAttempts
from projects.workspace.login_throttle import LIMITS

Kind = FailedAttempts.Kind
FROM = " from "  # between the name and the address in `who`; no user name has a space
OF_AN_ACCOUNT = [kind for kind in LIMITS if kind not in (Kind.ADDRESS, Kind.TOKENS)]


def is_locked_out() -> Exists:
    """For a query set of users: whether a limit of the account is reached, from anywhere."""
    reached = reduce(or_, (Q(kind=kind, count__gte=LIMITS[kind][0]) for kind in OF_AN_ACCOUNT))
    name = OuterRef("username")
    own = Q(who=name) | Q(who__startswith=Concat(name, Value(FROM)))
    return Exists(FailedAttempts.objects.filter(reached, own, ends_at__gt=timezone.now()))


@transaction.atomic
def unlock(user: User) -> bool:
    """Forget the wrong passwords for the account. False if there were none."""
    name = user.get_username()
    own = Q(who=name) | Q(who__startswith=f"{name}{FROM}")
    deleted, _ = FailedAttempts.objects.filter(own, kind__in=OF_AN_ACCOUNT, count__gt=0).delete()
    if deleted:
        audit.record(audit.Kind.UNLOCKED, target=user)
    return bool(deleted)
