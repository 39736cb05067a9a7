"""Notices: who gets which mail, once, and what happens while the mail server is away."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from projects.collaboration import assignments
from projects.models import (
    ChosenLanguage,
    Image,
    MailNotice,
    Membership,
    Opinion,
    OpinionState,
    Project,
    Role,
)
from projects.notices import mails, notices
from tests.factories import make_project, make_user, make_version
from training.models import Status, StopReason, TrainingVersion

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _mail_is_set_up(settings: Any) -> None:
    settings.MAIL, settings.SITE_URL = {"EMAIL_HOST": "mail"}, "https://exeml.example.org"


def with_mail(name: str) -> Any:
    user = make_user(name)
    user.email = f"{name}@example.org"
    user.save()
    return user


def send_after(seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The mails of a run of the job so many seconds from now."""
    mail.outbox.clear()
    moment = timezone.now() + timedelta(seconds=seconds)
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: moment)
        mails.send()
    return list(mail.outbox)


def ended_version(project: Project, status: Status = Status.COMPLETED, **fields: Any) -> TrainingVersion:
    with_mail("alice")  # who starts the trainings of the tests
    return make_version(project, 1, status, **fields)


def test_who_started_a_training_hears_once_that_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project()
    version = ended_version(project)
    assert send_after(0, monkeypatch) == []  # what follows at once comes in the same mail
    (sent,) = send_after(40, monkeypatch)
    assert (sent.to, sent.subject) == (["alice@example.org"], "V001 of flowers: Completed")
    page = f"https://exeml.example.org/projects/{project.pk}/train-model/{version.number}/"
    assert page in sent.body and "https://exeml.example.org/notices/" in sent.body
    assert send_after(80, monkeypatch) == [] and send_after(4000, monkeypatch) == []


def test_a_failure_brings_its_cause_and_a_retry_another_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    causes = {"failure_cause": "The memory was full.", "failure_remedy": "Use smaller images."}
    version = ended_version(make_project(), Status.FAILED, **causes)
    send_after(0, monkeypatch)
    (sent,) = send_after(40, monkeypatch)
    assert "The memory was full. Use smaller images." in sent.body
    type(version).objects.update(attempt=2)
    send_after(50, monkeypatch)
    assert len(send_after(90, monkeypatch)) == 1


def test_whoever_stopped_a_training_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    alice = with_mail("alice")
    ended_version(make_project(), stop_requested_by=alice, stop_reason=StopReason.values[0])
    send_after(0, monkeypatch)
    assert send_after(40, monkeypatch) == []


def test_notices_that_follow_each_other_share_a_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(unlabeled=5)
    bob = with_mail("bob")
    for count in (1, 3):
        assignments.assign_next(project, bob, make_user("alice"), count)
    (sent,) = send_after(40, monkeypatch)
    assert (sent.to, sent.subject) == (["bob@example.org"], "2 notices of exeml")
    assert "alice assigned 1 image of flowers to you." in sent.body
    assert "alice assigned 3 images of flowers to you." in sent.body


def test_images_that_one_takes_oneself_bring_no_notice() -> None:
    bob = with_mail("bob")
    assignments.assign_next(make_project(unlabeled=2), bob, bob)
    assert not MailNotice.objects.exists()


def test_reviewers_hear_of_opinions_that_differ_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project()
    Membership.objects.create(team=project.team, user=with_mail("rita"), role=Role.REVIEWER)
    with_mail("bob")  # a labeler
    image = project.images.first()
    Opinion.objects.create(image=image, by=make_user("bob"))
    Image.objects.filter(pk=image.pk).update(opinion=OpinionState.DIFFERS)
    send_after(0, monkeypatch)
    (sent,) = send_after(40, monkeypatch)
    assert (sent.to, sent.subject) == (["rita@example.org"], "The opinions on 1 image of flowers differ.")
    assert send_after(90, monkeypatch) == []
    send_after(24 * 3600 + 60, monkeypatch)
    assert len(send_after(24 * 3600 + 120, monkeypatch)) == 1


def test_a_mail_server_that_is_away_loses_nothing(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    ended_version(make_project())
    send_after(0, monkeypatch)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1  # nobody listens
    assert send_after(40, monkeypatch) == [] and MailNotice.objects.get().mailed_at is None
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert len(send_after(70, monkeypatch)) == 1


def test_nobody_gets_what_they_do_not_want_or_may_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(unlabeled=6)
    bob, vera = with_mail("bob"), with_mail("vera")
    notices.choose_kinds(bob, ["training"])
    assignments.assign_next(project, bob, make_user("alice"), 1)
    assert not MailNotice.objects.exists()
    assignments.assign_next(project, vera, make_user("alice"), 1)
    Membership.objects.filter(user=vera).delete()
    assert send_after(40, monkeypatch) == []


def test_a_mail_is_in_the_language_of_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    ChosenLanguage.objects.create(user=with_mail("bob"), code="de")
    assignments.assign_next(make_project(unlabeled=2), make_user("bob"), make_user("alice"), 2)
    (sent,) = send_after(40, monkeypatch)
    assert "alice" in sent.body and "assigned" not in sent.body


def test_the_page_keeps_what_one_chooses() -> None:
    make_project()
    client = Client()
    client.force_login(with_mail("bob"))
    assert "bob@example.org" in client.get("/notices/").content.decode()
    assert client.post("/notices/", {"kinds": ["training"]}).status_code == 303
    assert notices.wanted_kinds(make_user("bob")) == ["training"]
    assert client.post("/notices/", {"kinds": ["nonsense"]}).status_code == 422
    assert notices.wanted_kinds(make_user("bob")) == ["training"]


def test_a_site_without_mail_says_so_and_keeps_no_notices(settings: Any) -> None:
    settings.MAIL = {}
    project = make_project(unlabeled=2)
    assignments.assign_next(project, with_mail("bob"), make_user("alice"))
    assert not MailNotice.objects.exists()
    client = Client()
    client.force_login(make_user("bob"))
    assert "This site sends no mail" in client.get("/notices/").content.decode()
