"""Mails of sign-in. They are sent by a worker, so that no page takes longer for a known address."""

from __future__ import annotations

import hashlib

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import send_mail
from django.urls import reverse
from django.utils import translation
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext

from exeml_site.lib import jobs
from projects import audit
from projects.models import ChosenLanguage

SEND_TIMEOUT_S = 120


def send_later(job: str, *args: str) -> bool:
    """Have a worker run a job below. Returns False if the queue does not answer.

    While a mail waits, another request for the same one sends none.
    """
    digest = hashlib.sha256("\n".join(args).encode()).hexdigest()[:32]
    return jobs.enqueue_now(
        job, *args, queue=settings.QUEUE_SHORT, job_id=f"{job}-{digest}", timeout_s=SEND_TIMEOUT_S
    )


def reset_password(email: str, site: str, language: str) -> None:
    """Job: mail a link to each account with this address that has a password. Others get nothing.

    `site`: the address of this site, such as https://exeml.example.org.
    """
    for user in User.objects.filter(email__iexact=email, is_active=True, service_account=None):
        if not user.has_usable_password():
            continue  # signs in at the provider
        chosen = ChosenLanguage.objects.filter(user=user).first()
        key = {
            "uidb64": urlsafe_base64_encode(force_bytes(user.pk)),
            "token": default_token_generator.make_token(user),
        }
        with translation.override(chosen.code if chosen else language):
            who = gettext(
                "Somebody, probably you, asked to reset the password of the account %(username)s. "
                "Choose a new one here within an hour:"
            ) % {"username": user.get_username()}
            otherwise = gettext("If it was not you, do nothing: the password stays as it is.")
            text = "\n\n".join([who, site + reverse("choose_password", kwargs=key), otherwise])
            send_mail(gettext("Reset your password for exeml"), text, None, [user.email])
        audit.record(audit.Kind.RESET_MAILED, target=user)


def send_invitation(email: str, link: str, team: str, by: str, language: str) -> None:
    """Job: mail the link of an invitation."""
    with translation.override(language):
        names = {"team": team, "by": by}
        who = gettext("%(by)s invites you into the team %(team)s in exeml. Join here:") % names
        send_mail(gettext("Join the team %(team)s in exeml") % names, f"{who}\n\n{link}", None, [email])
