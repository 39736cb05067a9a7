"""The audit log: what each action records, who and where, and that nothing is changed afterwards."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone

from projects import audit
from projects.audit import retention
from projects.images import bin
from projects.labels import actions
from projects.models import AuditEvent, Membership, Project, Role
from projects.workspace import lifecycle, members
from tests.conftest import MigratedDatabase
from tests.factories import PASSWORD, make_project, make_team, make_user

pytestmark = pytest.mark.django_db


def kinds() -> list[str]:
    """Of all events, the oldest first."""
    return list(AuditEvent.objects.order_by("pk").values_list("kind", flat=True))


def make_event(**fields: Any) -> AuditEvent:
    event = AuditEvent(kind="download", way="page", **fields)
    event.save()
    return event


def test_a_sign_in_says_who_and_from_where(settings: Any) -> None:
    make_team()
    client = Client(REMOTE_ADDR="192.0.2.9", headers={"X-Forwarded-For": "198.51.100.7"})
    client.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    event = AuditEvent.objects.get()
    assert (event.kind, event.user_name, event.user_id) == ("sign-in", "alice", make_user("alice").pk)
    assert event.address == "192.0.2.9"  # no proxy is trusted
    assert event.way == "page" and len(event.request_id) == 32


def test_the_address_comes_from_a_trusted_proxy_alone(settings: Any) -> None:
    from ipaddress import ip_network

    settings.EXEML_TRUSTED_PROXIES = [ip_network("192.0.2.0/24")]
    make_team()
    client = Client(REMOTE_ADDR="192.0.2.9", headers={"X-Forwarded-For": "10.0.0.1, 198.51.100.7"})
    client.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    assert AuditEvent.objects.get().address == "198.51.100.7"


def test_a_failed_sign_in_names_a_known_account_and_never_what_was_typed() -> None:
    make_team()
    for name in ("alice", "my secret password"):
        Client().post("/sign-in/", {"username": name, "password": "wrong"})
    known, unknown = AuditEvent.objects.order_by("pk")
    assert (known.kind, known.target, known.user_name) == ("sign-in.failed", "alice", "")
    assert (unknown.target, unknown.details) == ("", {"is_known": False})


def test_the_attempt_that_reaches_a_limit_is_recorded_once() -> None:
    make_team()
    for _ in range(13):
        Client().post("/sign-in/", {"username": "alice", "password": "wrong"})
    assert kinds().count("sign-in.failed") == 10
    assert kinds().count("sign-in.blocked") == 1


def test_signing_out_and_a_new_password_are_recorded(alice: Client) -> None:
    new = "another good password"
    fields = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    alice.post("/password/", fields)
    alice.post("/sign-out/")
    assert kinds() == ["sign-in", "password.changed", "sign-out"]
    assert set(AuditEvent.objects.values_list("user_name", flat=True)) == {"alice"}


def test_members_are_recorded_with_both_roles() -> None:
    team, carol = make_team(), make_user("carol")
    membership = members.add_member(team, carol, Role.VIEWER)
    members.change_role(membership, Role.LABELER)
    members.change_role(membership, Role.LABELER)  # nothing changes
    members.remove_member(membership)
    added, changed, removed = AuditEvent.objects.order_by("pk")
    assert (added.kind, added.target, added.details) == ("member.added", "carol", {"role": "Viewer"})
    assert (changed.kind, changed.details) == ("member.role", {"before": "Viewer", "role": "Labeler"})
    assert (removed.kind, removed.team_name, removed.way) == ("member.removed", "Greenhouse", "command")


def test_a_refused_action_records_nothing() -> None:
    last = Membership.objects.get(team=make_team(), user=make_user("alice"))
    with pytest.raises(members.MemberRefused):
        members.remove_member(last)
    assert kinds() == []


def test_what_is_rolled_back_did_not_happen(capsys: Any, settings: Any) -> None:
    settings.AUDIT_STDOUT = True
    project = make_project(images=0)
    with transaction.atomic():
        audit.record(audit.Kind.EXPORTED, project=project)
        transaction.set_rollback(True)
    assert kinds() == [] and capsys.readouterr().out == ""


def test_each_event_is_a_line_of_json_where_that_is_switched_on(
    capsys: Any, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    settings.AUDIT_STDOUT = True
    project = make_project(images=0)
    with django_capture_on_commit_callbacks(execute=True):
        audit.record(audit.Kind.EXPORTED, project=project, by=make_user("alice"), target="a\nb", images=3)
    (line,) = capsys.readouterr().out.splitlines()
    printed = json.loads(line)["audit"]
    assert (printed["kind"], printed["target"], printed["details"]) == ("export", "a\nb", {"images": 3})
    assert (printed["team_name"], printed["user_name"]) == ("Greenhouse", "alice")


def test_projects_are_recorded_from_their_creation_to_their_return() -> None:
    alice = make_user("alice")
    project = lifecycle.create_project(make_team(), name="flowers", by=alice)
    lifecycle.update_description(project, "of a meadow")
    lifecycle.delete_project(project, by=alice)
    lifecycle.restore_project(project)
    assert kinds() == ["project.created", "project.changed", "project.deleted", "project.restored"]
    assert set(AuditEvent.objects.values_list("project_name", "team_name")) == {("flowers", "Greenhouse")}


def test_deleted_images_and_labels_and_their_way_back() -> None:
    project, bob = make_project(labels=2, images=2), make_user("bob")
    image = project.images.first()
    deletion = actions.delete_images(project, [image.pk], bob)
    actions.undo(deletion, bob)
    label = project.labels.first()
    gone = actions.delete_label(label, bob)
    actions.undo(gone, bob)
    events = AuditEvent.objects.order_by("pk").values_list("kind", "target", "user_name", "details__images")
    assert list(events) == [
        ("images.deleted", "", "bob", 1),
        ("images.restored", "", "bob", 1),
        ("label.deleted", "label-0", "bob", 2),
        ("label.restored", "label-0", "bob", 2),
    ]


def test_a_job_records_as_the_system(settings: Any) -> None:
    project = make_project(labels=1, images=3)
    actions.delete_images(project, list(project.images.values_list("pk", flat=True)), make_user("bob"))
    settings.EXEML_BIN_DAYS = 0
    bin.empty_bins()
    event = AuditEvent.objects.get(kind="images.purged")
    assert (event.user_name, event.address, event.details) == ("", "", {"images": 3})
    assert event.project_name == "flowers"


def test_an_event_outlives_what_it_is_about(settings: Any) -> None:
    project = make_project(images=0)
    audit.record(audit.Kind.EXPORTED, project=project, by=make_user("bob"))
    Project.objects.all().delete()
    User.objects.filter(username="bob").delete()
    event = AuditEvent.objects.get()
    assert (event.project_name, event.user_name, event.project_id) == ("flowers", "bob", project.pk)


def test_no_event_is_changed_or_deleted_by_the_program() -> None:
    event = make_event(target="a")
    event.target = "b"
    for forbidden in (
        event.save,
        event.delete,
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.update(target="b"),
        lambda: AuditEvent.objects.bulk_update([event], ["target"]),
    ):
        with pytest.raises(TypeError, match="append-only"):
            forbidden()
    assert AuditEvent.objects.get().target == "a"


def test_old_events_are_deleted_after_their_days(settings: Any) -> None:
    settings.EXEML_AUDIT_DAYS = 90
    for days in (91, 89, 0):
        make_event(at=timezone.now() - timedelta(days=days), target=f"{days} days")
    assert retention.forget_old() == 1
    assert list(AuditEvent.objects.values_list("target", flat=True)) == ["0 days", "89 days"]


CHANGES = "UPDATE projects_auditevent SET target = 'b'"
DELETION = "DELETE FROM projects_auditevent"


def test_sqlite_itself_refuses_changes_and_young_deletions(
    migrated_database: MigratedDatabase, tmp_path: Path
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("the tests run on PostgreSQL")
    copy = tmp_path / "copy.sqlite3"
    shutil.copyfile(migrated_database.file, copy)
    insert = (
        "INSERT INTO projects_auditevent (at, kind, way, user_name, address, team_name, project_name, "
        "target, details, request_id) VALUES (?, 'download', 'page', '', '', '', '', 'a', '{}', '')"
    )
    with closing(sqlite3.connect(copy)) as database:
        young, old = timezone.now() - timedelta(days=29), timezone.now() - timedelta(days=31)
        database.executemany(insert, [(moment.strftime("%Y-%m-%d %H:%M:%S.%f"),) for moment in (young, old)])
        for statement in (CHANGES, DELETION):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                database.execute(statement)
        database.execute(f"{DELETION} WHERE at < datetime('now', '-30 days')")
        assert database.execute("SELECT count(*) FROM projects_auditevent").fetchone() == (1,)


def test_postgresql_itself_refuses_changes_and_young_deletions() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("the tests run on SQLite")
    make_event(at=timezone.now() - timedelta(days=29))
    make_event(at=timezone.now() - timedelta(days=31))
    for statement in (CHANGES, DELETION):
        with (
            pytest.raises(DatabaseError, match="append-only"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
    with connection.cursor() as cursor:
        cursor.execute(f"{DELETION} WHERE at < now() - interval '30 days'")
    assert AuditEvent.objects.count() == 1


def test_details_are_readable() -> None:
    details = {
        "is_known": True,
        "methods": ["password", "totp"],
        "file_count": 3,
        "changes": {"role": "Manager"},
    }
    assert AuditEvent(details=details).detail_texts == [
        ("known", "yes"),
        ("methods", "password, totp"),
        ("file count", "3"),
        ("changes", '{"role": "Manager"}'),
    ]
