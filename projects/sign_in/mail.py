"""Mails of sign-in. They are sent by a worker, so that no page takes longer for a known address."""

from __future__ import annotations

import hashlib

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext

from exeml_site.lib import jobs
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
    for user in User.objects.filter(email__iexact=email, is_active=True):
        if not user.has_usable_password():
            continue  # signs in at the provider
        chosen = ChosenLanguage.objects.filter(user=user).first()
        key = {
            "uidb64": urlsafe_base64_encode(force_bytes(user.pk)),
            "token": default_token_generator.make_token(user),
        }
        with translation.override(chosen.code if chosen else language):
            facts = {"user": user, "link": site + reverse("choose_password", kwargs=key)}
            text = render_to_string("sign_in/mails/reset.txt", facts)
            send_mail(gettext("Reset your password for exeml"), text, None, [user.email])


def send_invitation(email: str, link: str, team: str, by: str, language: str) -> None:
    """Job: mail the link of an invitation."""
    with translation.override(language):
        text = render_to_string("sign_in/mails/invitation.txt", {"link": link, "team": team, "by": by})
        sentence = gettext("Join the team %(team)s in exeml")
        send_mail(sentence % {"team": team}, text, None, [email])
