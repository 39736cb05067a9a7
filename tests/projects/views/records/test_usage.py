"""The pages of usage: a team's for its managers, all teams' for operators, and their files."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from projects.models import AuditEvent, Project, TeamQuota, Usage
from projects.usage.ledger import month_of
from tests.factories import make_project, make_team, make_user
from tests.pages import html_of

pytestmark = pytest.mark.django_db
THIS_MONTH = month_of(timezone.now())


def use(project: Project, kind: str, quantity: float, month: date = THIS_MONTH, **fields: Any) -> None:
    Usage.objects.create(
        month=month,
        kind=kind,
        source=f"{kind} {Usage.objects.count()}",
        team=project.team,
        team_name=project.team.name,
        project_id=project.pk,
        project_name=project.name,
        quantity=quantity,
        measured_at=timezone.now(),
        **fields,
    )


@pytest.fixture
def project(db: None) -> Project:
    project = make_project(images=0)
    priced = {"user_name": "bob", "flavor_name": "Big GPU", "price_per_hour": Decimal("2.50")}
    use(project, "training", 3600, **priced)
    use(project, "training", 1800, **priced)
    use(project, "service", 36_000, user_name="alice")
    use(project, "calls", 12_345, user_name="alice")
    use(project, "images", 200, user_name="bob")
    use(project, "storage", 1.5e9, user_name="bob")
    use(project, "training", 7200, date(2020, 1, 1), **priced)
    return project


def address(name: str = "usage/") -> str:
    return f"/teams/{make_team().pk}/{name}"


def test_a_manager_sees_hours_cost_calls_images_and_storage(alice: Client, project: Project) -> None:
    use(make_project("secret", images=0, team=make_user("mallory").memberships.get().team), "calls", 99_999)
    response = alice.get(address())
    assert response.context["totals"] == {
        "training": 1.5,
        "service": 10.0,
        "calls": 12_345.0,
        "images": 200.0,
        "storage": 1.5,
    }
    assert response.context["usage"].cost == pytest.approx(3.75)
    html = html_of(response)
    assert "12,345" in html and "Big GPU" in html and "3.75" in html and "secret" not in html


def test_another_month_is_chosen(alice: Client, project: Project) -> None:
    response = alice.get(f"{address()}?month=2020-01")
    assert response.context["totals"]["training"] == 2.0
    assert response.context["months"][1:] == [("2020-01", "January 2020")]
    assert response.context["months"][0][0] == f"{THIS_MONTH:%Y-%m}"
    for wrong in ("2020", "2020-13", "x", "9999-12"):
        refused = alice.get(f"{address()}?month={wrong}")
        assert refused.status_code == 422 and "Choose a month" in html_of(refused)
        assert alice.get(f"{address('usage.csv')}?month={wrong}").status_code == 422


def test_limits_stand_beside_what_is_used(alice: Client, project: Project) -> None:
    TeamQuota.objects.create(team=project.team, max_training_hours=40, max_storage_gb=1)
    html = html_of(alice.get(address()))
    assert "1.50 of 40" in html and "1.500 of 1<" in html, "GB have three digits everywhere"


def test_the_file_has_all_lines_and_its_download_is_recorded(alice: Client, project: Project) -> None:
    answer = alice.get(address("usage.csv"))
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    (training,) = [row for row in rows if row["kind"] == "training"]
    assert (training["quantity"], training["unit"], training["cost"]) == ("1.5", "hours", "3.75")
    assert (training["person"], training["flavor"]) == ("bob", "Big GPU")
    assert {row["unit"] for row in rows} == {"hours", "calls", "images", "GB"}
    assert AuditEvent.objects.filter(kind="download", target__startswith="usage-").count() == 1


def test_operators_see_all_teams(alice: Client, project: Project) -> None:
    use(make_project("other", images=0, team=make_user("mallory").memberships.get().team), "calls", 7)
    operator = Client()
    operator.force_login(make_user("operator", is_staff=True, is_superuser=True))
    html = html_of(operator.get("/usage/"))
    assert "Greenhouse" in html and "Strangers" in html
    assert b"Strangers" in operator.get("/usage.csv").content
    assert alice.get("/usage/").status_code == 403
