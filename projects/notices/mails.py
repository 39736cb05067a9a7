"""Mails of notices: one mail a person for all that waits, in the person's language."""

from __future__ import annotations

import logging
import smtplib
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import send_mail
from django.db.models import Max
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.module_loading import import_string
from django.utils.translation import gettext, ngettext

from exeml_site.lib.display import count
from projects.models import ChosenLanguage, MailNotice, Membership, NoticeKind, Project, Role
from projects.notices.notices import is_mail_set_up

log = logging.getLogger(__name__)

GATHERED = timedelta(seconds=30)  # notices that follow each other within this time share a mail
KEPT = timedelta(days=14)  # so that the same source adds no second one
GIVEN_UP = timedelta(days=2)  # a mail server that refuses one for so long


def send() -> None:
    """Job, every 30 seconds: collect the notices of what has happened, and mail those that wait."""
    if not is_mail_set_up():
        return
    for name in settings.NOTICE_COLLECTORS:
        import_string(name)()
    now = timezone.now()
    MailNotice.objects.filter(created_at__lt=now - KEPT).delete()
    waiting = MailNotice.objects.filter(mailed_at=None, created_at__gt=now - GIVEN_UP)
    newest = waiting.order_by().values_list("user").annotate(newest=Max("created_at"))
    settled = [user for user, at in newest if at <= now - GATHERED]
    by_user: dict[int, list[MailNotice]] = defaultdict(list)
    for notice in waiting.filter(user__in=settled).select_related("user", "project", "team"):
        by_user[notice.user_id].append(notice)
    for found in by_user.values():
        try:
            _mail(found[0].user, found)
        except (OSError, smtplib.SMTPException) as problem:
            log.error("a mail of notices to %s was not sent: %s", found[0].user, problem)


def _mail(user: User, waiting: Sequence[MailNotice]) -> None:
    """Mail what no other worker has taken; what could not be sent waits again."""
    now = timezone.now()
    taken = [
        notice
        for notice in waiting
        if MailNotice.objects.filter(pk=notice.pk, mailed_at=None).update(mailed_at=now)
    ]
    told = _still_allowed(user, taken)
    if not told or not user.is_active or not user.email:
        return
    chosen = ChosenLanguage.objects.filter(user=user).first()
    with translation.override(chosen.code if chosen else settings.LANGUAGE_CODE):
        lines = [_text(notice) for notice in told]
        subject = lines[0][0] if len(lines) == 1 else _subject(len(lines))
        parts = ["\n".join(filter(None, line)) for line in lines]
        footer = gettext("You choose which notices you get on the page Notices of your account.")
        text = "\n\n".join([*parts, "\n".join(filter(None, [footer, _link("notices")]))])
        try:
            send_mail(subject, text, None, [user.email])
        except BaseException:
            MailNotice.objects.filter(pk__in=[notice.pk for notice in taken]).update(mailed_at=None)
            raise


def _still_allowed(user: User, found: Sequence[MailNotice]) -> list[MailNotice]:
    """Those of projects that the person sees, and of teams that they manage. They may have left a team."""
    visible = Project.objects.visible_to(user).filter(pk__in={notice.project_id for notice in found})
    managed = Membership.objects.filter(user=user, role__gte=Role.MANAGER)
    projects = set(visible.values_list("pk", flat=True))
    teams = set(managed.values_list("team", flat=True))
    return [notice for notice in found if notice.project_id in projects or notice.team_id in teams]


def _subject(number: int) -> str:
    sentence = ngettext("%(number)s notice of exeml", "%(number)s notices of exeml", number)
    return sentence % {"number": count(number)}


def _text(notice: MailNotice) -> tuple[str, str, str]:
    """What happened, more about it, and a link."""
    data = notice.data
    if notice.team is not None:
        names = {"webhook": data["webhook"], "team": notice.team.name}
        title = gettext("The webhook %(webhook)s of %(team)s was turned off.") % names
        return title, gettext(data["cause"]), _link("show_webhook", notice.team_id, data["id"])
    assert notice.project is not None
    project = notice.project.name
    if notice.kind == NoticeKind.TRAINING:
        title = gettext("%(version)s of %(project)s: %(status)s") % {
            "version": data["version"],
            "project": project,
            "status": gettext(data["status"]),
        }
        link = _link("training_version", notice.project_id, data["number"])
        return title, data.get("detail", ""), link
    number = data["images"]
    if notice.kind == NoticeKind.ASSIGNED:
        sentence = ngettext(
            "%(by)s assigned %(number)s image of %(project)s to you.",
            "%(by)s assigned %(number)s images of %(project)s to you.",
            number,
        )
        names = {"by": data["by"], "number": count(number), "project": project}
        return sentence % names, "", _link("label_data", notice.project_id)
    sentence = ngettext(
        "The opinions on %(number)s image of %(project)s differ.",
        "The opinions on %(number)s images of %(project)s differ.",
        number,
    )
    names = {"number": count(number), "project": project}
    return sentence % names, "", _link("review", notice.project_id)


def _link(page: str, *arguments: object) -> str:
    return f"{settings.SITE_URL}{reverse(page, args=arguments)}" if settings.SITE_URL else ""
