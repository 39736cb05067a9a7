"""What operators change in the admin stands in the audit log."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from projects.models import AuditEvent, Membership, Role, TeamQuota
from tests.factories import make_project, make_team, make_user
from training.models import InstanceFlavor

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(make_user("operator", is_staff=True, is_superuser=True))
    return client


def events(kind: str) -> list[tuple[Any, ...]]:
    found = AuditEvent.objects.filter(kind=kind).order_by("pk")
    assert {(event.user_name, event.way) for event in found} <= {("operator", "admin")}
    return list(found.values_list("target", "team_name", "details"))


def test_members_of_a_team(operator: Client) -> None:
    team, carol = make_team(), make_user("carol")
    bob, vera = (Membership.objects.get(team=team, user=make_user(name)) for name in ("bob", "vera"))
    alice = Membership.objects.get(team=team, user=make_user("alice"))
    rows = [(alice, Role.MANAGER, ""), (bob, Role.REVIEWER, ""), (vera, Role.VIEWER, "on")]
    form = {"name": team.name, "memberships-TOTAL_FORMS": "4", "memberships-INITIAL_FORMS": "3"}
    for place, (member, role, deleted) in enumerate(rows):
        form |= {
            f"memberships-{place}-id": member.pk,
            f"memberships-{place}-team": team.pk,
            f"memberships-{place}-user": member.user_id,
            f"memberships-{place}-role": int(role),
            f"memberships-{place}-DELETE": deleted,
        }
    form |= {"memberships-3-team": team.pk, "memberships-3-user": carol.pk, "memberships-3-role": "20"}
    answer = operator.post(reverse("admin:projects_team_change", args=[team.pk]), form)
    assert answer.status_code == 302
    assert events("member.role") == [("bob", "Greenhouse", {"before": "Labeler", "role": "Reviewer"})]
    assert events("member.added") == [("carol", "Greenhouse", {"role": "Labeler"})]
    assert events("member.removed") == [("vera", "Greenhouse", {})]


def test_limits_of_a_team_are_set_and_recorded(operator: Client) -> None:
    add = reverse("admin:projects_teamquota_add")
    answer = operator.post(add, {"team": make_team().pk, "max_training_hours": "-1"})
    assert answer.status_code == 200 and not TeamQuota.objects.exists()
    operator.post(add, {"team": make_team().pk, "max_training_hours": "40"})
    quota = TeamQuota.objects.get()
    change = reverse("admin:projects_teamquota_change", args=[quota.pk])
    operator.post(change, {"team": quota.pk, "max_training_hours": "50"})
    quota.refresh_from_db()
    assert (quota.max_training_hours, quota.max_storage_gb) == (50, None)
    ((target, team, details),) = events("admin.changed")
    assert (target, team) == ("Greenhouse", "Greenhouse")
    assert details["changes"] == [{"changed": {"fields": ["Training hours a month"]}}]


def test_the_price_of_a_flavor_before_and_after(operator: Client, settings: Any) -> None:
    settings.EXEML_CURRENCY = "EUR"
    flavor = InstanceFlavor.objects.create(name="Big", device="gpu", queue="gpu", price_per_hour="1.50")
    fields = {"name": "Big", "device": "gpu", "queue": "gpu", "price_per_hour": "2.25", "position": 5}
    operator.post(
        reverse("admin:training_instanceflavor_change", args=[flavor.pk]), {**fields, "is_enabled": "on"}
    )
    prices = {"before": "1.50", "price": "2.25", "currency": "EUR"}
    assert events("price.changed") == [("Big", "", prices)]
    ((target, _, details),) = events("admin.changed")
    assert target == "Big" and "Price per hour" in details["changes"][0]["changed"]["fields"]


def test_groups_and_people_are_added_and_deleted(operator: Client) -> None:
    operator.post(reverse("admin:auth_group_add"), {"name": "auditors"})
    group = Group.objects.get()
    operator.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"})
    assert [target for target, *_ in events("admin.added")] == ["auditors"]
    assert [target for target, *_ in events("admin.deleted")] == ["auditors"]


def test_restoring_a_project(operator: Client) -> None:
    project = make_project("flowers", images=0)
    selection = {"_selected_action": [project.pk]}
    for action in ("delete", "restore"):
        operator.post(reverse("admin:projects_project_changelist"), {"action": action, **selection})
    assert len(events("project.deleted")) == len(events("project.restored")) == 1


def test_nobody_changes_the_log_itself(operator: Client) -> None:
    event = AuditEvent.objects.first()
    assert event is not None
    page = reverse("admin:projects_auditevent_change", args=[event.pk])
    assert operator.get(page).status_code == 200
    assert operator.post(page, {"target": "x"}).status_code == 403
    assert operator.post(reverse("admin:projects_auditevent_delete", args=[event.pk])).status_code == 403
