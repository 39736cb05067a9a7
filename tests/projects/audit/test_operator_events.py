"""What operators do in the admin beside adding, changing and deleting rows, and what commands do."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.usersessions.models import UserSession
from django.contrib.auth.management.commands import changepassword
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from exeml_site.lib.errors import Refused
from projects.backup import runs
from projects.models import AuditEvent, FailedAttempts, Invitation, Role
from projects.setup import make_administrator
from projects.sign_in import invitations
from projects.workspace import purge
from tests.factories import PASSWORD, make_project, make_team, make_user, make_version
from tests.projects.operators.test_queues import fail
from training.engine.bundle.decision import AnswerSettings
from training.models import Service, Status
from training.serving import deleted_services
from training.versions import answer_settings, deleted_versions

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(make_user("operator", is_staff=True, is_superuser=True))
    return client


def events(kind: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Person, target and details of each event of the kind."""
    found = AuditEvent.objects.filter(kind=kind).order_by("pk")
    return list(found.values_list("user_name", "target", "details"))


def make_factor() -> Model:
    return TOTP.activate(make_user("alice"), generate_totp_secret()).instance


def make_session() -> Model:
    make_team()
    Client().post("/sign-in/", {"username": "alice", "password": PASSWORD})
    return UserSession.objects.get(user__username="alice")


def make_invitation() -> Model:
    return invitations.invite(make_team(), Role.VIEWER, 7, make_user("alice"), "eve@example.org")[0]


def make_attempts() -> Model:
    Client().post("/sign-in/", {"username": make_user("alice").username, "password": "wrong"})
    return FailedAttempts.objects.get(kind=FailedAttempts.Kind.ACCOUNT)


DELETIONS: list[tuple[Callable[[], Model], str, str, dict[str, Any]]] = [
    (make_factor, "factor.removed", "alice", {"factor": "totp"}),
    (make_session, "session.ended", "alice", {"sessions": 1}),
    (make_invitation, "invitation.withdrawn", "eve@example.org", {"role": "Viewer"}),
    (make_attempts, "sign-in.unlocked", "alice", {"counter": FailedAttempts.Kind.ACCOUNT}),
]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(("make", "kind", "target", "details"), DELETIONS)
def test_what_a_deletion_in_the_admin_means(
    operator: Client,
    make: Callable[[], Model],
    kind: str,
    target: str,
    details: dict[str, Any],
    several: bool,
) -> None:
    row = make()
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}"
    if several:
        form = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
        operator.post(reverse(f"{name}_changelist"), form)
    else:
        operator.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"})
    assert not type(row)._default_manager.filter(pk=row.pk).exists()
    assert events(kind) == [("operator", target, details)]
    assert len(events("admin.deleted")) == 1


def test_an_accepted_invitation_is_not_withdrawn_any_more(operator: Client) -> None:
    invitation = make_invitation()
    Invitation.objects.update(accepted_at=timezone.now())
    operator.post(reverse("admin:projects_invitation_delete", args=[invitation.pk]), {"post": "yes"})
    assert not Invitation.objects.exists() and not events("invitation.withdrawn")


def test_unlocking_a_person(operator: Client) -> None:
    alice = make_attempts()
    form = {"action": "unlock", "_selected_action": [make_user("alice").pk]}
    for _ in range(2):
        operator.post(reverse("admin:auth_user_changelist"), form)
    assert events("sign-in.unlocked") == [("operator", "alice", {})]
    assert not FailedAttempts.objects.filter(pk=alice.pk).exists()


def test_retrying_a_failed_job(operator: Client, redis: Any) -> None:
    fail()
    address = reverse("admin:retry_job", args=["short", "job"])
    for _ in range(2):
        operator.post(address)
    assert events("job.retried") == [("operator", "job", {"queue": "short"})]


def test_purges_and_a_restored_service() -> None:
    version = make_version(make_project("flowers", labels=0), 1, Status.COMPLETED, accuracy=0.9)
    service = Service.objects.create(project=version.project, training_version=version, name="exeML-1")
    assert not deleted_services.purge(service) and not deleted_versions.purge(version)
    Service.objects.update(deleted_at=timezone.now())
    assert deleted_services.restore(service, by=make_user("operator"))
    assert events("service.restored") == [("operator", "exeML-1", {})]
    Service.objects.update(deleted_at=timezone.now())
    type(version).objects.update(deleted_at=timezone.now())
    type(version.project).objects.update(deleted_at=timezone.now())
    assert deleted_services.purge(service) and deleted_versions.purge(version)
    assert purge.purge(version.project_id) and not purge.purge(version.project_id)
    assert events("service.purged") == [("", "exeML-1", {})]
    assert events("training.purged") == [("", "V001", {})]
    assert events("project.purged") == [("", "", {})]
    purged = AuditEvent.objects.filter(kind__endswith=".purged")
    assert set(purged.values_list("project_name", "team_name")) == {("flowers", "Greenhouse")}


def test_answer_settings_of_a_version() -> None:
    version = make_version(make_project("flowers", labels=0), 1, Status.COMPLETED, accuracy=0.9)
    alice = make_user("alice")
    answer_settings.save(version, AnswerSettings(min_confidence=0.75), alice)
    answer_settings.reset(version, alice)
    type(version).objects.update(status=Status.FAILED)
    answer_settings.reset(version, alice)  # has no model, so nothing is stored
    assert events("training.answers") == [
        ("alice", "V001", {"settings": {"min_confidence": 0.75}}),
        ("alice", "V001", {"settings": {}}),
    ]


def test_accounts_that_commands_make_and_passwords_that_they_change(monkeypatch: Any) -> None:
    typed = iter(["another good password 9"] * 2)
    monkeypatch.setattr(changepassword.Command, "_get_pass", lambda *_: next(typed))
    make_user("alice")
    call_command("changepassword", "alice", stdout=io.StringIO())
    assert User.objects.get(username="alice").check_password("another good password 9")
    assert events("password.changed") == [("", "alice", {})]
    with pytest.raises(CommandError):
        call_command("changepassword", "nobody", stdout=io.StringIO())
    call_command("createsuperuser", "--noinput", username="root", email="root@example.org", verbosity=0)
    with pytest.raises(CommandError):
        call_command("createsuperuser", "--noinput", username="root", email="root@example.org", verbosity=0)
    make_user("bob").save()  # no command saves it
    assert events("account.created") == [("", "root", {"is_superuser": True})]
    assert set(AuditEvent.objects.values_list("way", flat=True)) == {"command"}


def test_the_first_administrator(monkeypatch: Any) -> None:
    monkeypatch.setenv("EXEML_ADMIN_NAME", "root")
    for _ in range(2):
        make_administrator()
    assert events("account.created") == [("", "root", {"is_superuser": True})]


def test_a_backup_that_was_made_is_recorded_and_one_that_failed_is_not(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        runs.make_backup(tmp_path / "nowhere" / "a.tar")
    assert not events("backup.made")
