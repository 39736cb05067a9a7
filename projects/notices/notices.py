"""Notices that wait to be mailed: rows, so that none is lost while Redis or the mail server is away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from projects.models import MailNotice, MutedNotice, NoticeKind, Project, Team


def is_mail_set_up() -> bool:
    return bool(settings.MAIL)


def add(kind: NoticeKind, people: Iterable[User], about: Project | Team, source: str, **data: Any) -> None:
    """Add a notice for each of these people who wants it and can get mail; once for a source.

    One about a team is mailed to managers alone.
    """
    if not is_mail_set_up():
        return
    now = timezone.now()
    subject = {"project": about} if isinstance(about, Project) else {"team": about}
    muted = set(MutedNotice.objects.filter(kind=kind).values_list("user_id", flat=True))
    MailNotice.objects.bulk_create(
        [
            MailNotice(user=person, kind=kind, source=source, data=data, created_at=now, **subject)
            for person in people
            if person.is_active and person.email and person.pk not in muted
        ],
        ignore_conflicts=True,
    )


def wanted_kinds(user: User) -> list[str]:
    """The kinds of which the person gets mail."""
    muted = set(user.muted_notices.values_list("kind", flat=True))
    return [kind for kind in NoticeKind.values if kind not in muted]


@transaction.atomic
def choose_kinds(user: User, kinds: Iterable[str]) -> None:
    """Mail the person these kinds from now on. What waits of the others is not mailed."""
    muted = set(NoticeKind.values) - set(kinds)
    MutedNotice.objects.filter(user=user).delete()
    MutedNotice.objects.bulk_create([MutedNotice(user=user, kind=kind) for kind in sorted(muted)])
    MailNotice.objects.filter(user=user, kind__in=muted, mailed_at=None).delete()
