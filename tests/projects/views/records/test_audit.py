"""The pages of the audit log: a team's for its managers, the site's for operators."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from projects import audit
from projects.models import AuditEvent
from projects.views.records.audit import PAGE_SIZE
from tests.factories import make_project, make_team, make_user
from tests.pages import html_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(make_user("operator", is_staff=True, is_superuser=True))
    return client


def address(name: str = "audit/") -> str:
    return f"/teams/{make_team().pk}/{name}"


def record(target: str, **fields: Any) -> None:
    audit.record(fields.pop("kind", audit.Kind.EXPORTED), target=target, **fields)


def test_a_manager_sees_the_events_of_the_team_alone(alice: Client) -> None:
    record("ours", project=make_project(images=0), by=make_user("bob"))
    record("theirs", team=make_user("mallory").memberships.get().team)
    response = alice.get(address())
    assert [event.target for event in response.context["events"]] == ["ours"]
    html = html_of(response)
    assert "ours" in html and "Images exported" in html and "bob" in html


def test_an_operator_sees_every_event(operator: Client, alice: Client) -> None:
    record("ours", project=make_project(images=0))
    html = html_of(operator.get("/audit/"))
    assert "ours" in html and "Signed in" in html and "Greenhouse" in html
    assert alice.get("/audit/").status_code == 403


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("person=BOB", {"first"}),
        ("kind=export", {"first", "second"}),
        ("kind=download", {"third"}),
        ("project=flowers", {"first", "second", "third"}),
        ("project=trees", set()),
        ("since=2000-01-01&until=2000-01-31", set()),
        ("person=bob&kind=download", set()),
    ],
)
def test_filters(query: str, shown: set[str], alice: Client) -> None:
    project = make_project(images=0)
    record("first", project=project, by=make_user("bob"))
    record("second", project=project)
    record("third", project=project, kind=audit.Kind.DOWNLOADED)
    response = alice.get(f"{address()}?{query}")
    assert {event.target for event in response.context["events"]} == shown


def test_days_of_the_filter_are_whole(alice: Client) -> None:
    now = timezone.localtime()
    record("today", team=make_team())
    today, yesterday = now.date().isoformat(), (now - timedelta(days=1)).date().isoformat()
    assert alice.get(f"{address()}?since={today}&until={today}").context["events"]
    assert not alice.get(f"{address()}?until={yesterday}").context["events"]


@pytest.mark.parametrize("query", ["since=31.12.2026", "until=0001-01-01", "kind=nothing", "before=x"])
def test_a_wrong_filter_is_refused_at_its_field(query: str, alice: Client) -> None:
    for name in ("audit/", "audit.csv"):
        response = alice.get(f"{address(name)}?{query}")
        assert response.status_code == 422
        assert query.partition("=")[0] in response.context["form"].errors


def test_older_events_stand_on_the_next_page(alice: Client) -> None:
    team = make_team()
    for number in range(PAGE_SIZE + 1):
        record(f"event {number}", team=team)
    first = alice.get(f"{address()}?kind=export")
    assert len(first.context["events"]) == PAGE_SIZE
    second = alice.get(f"{address()}?{first.context['older']}")
    assert [event.target for event in second.context["events"]] == ["event 0"]
    assert second.context["older"] == ""


def test_the_files_hold_what_the_filters_let_pass_and_are_recorded(alice: Client) -> None:
    record("=1+1", team=make_team(), images=3)
    record("other", team=make_team(), kind=audit.Kind.DOWNLOADED)
    answer = alice.get(f"{address('audit.csv')}?kind=export")
    (row,) = csv.DictReader(io.StringIO(answer.getvalue().decode()))
    assert (row["kind"], row["target"], row["details"]) == ("export", "'=1+1", '{"images": 3}')
    lines = alice.get(f"{address('audit.jsonl')}?kind=export").getvalue().splitlines()
    assert [json.loads(line)["details"] for line in lines] == [{"images": 3}]
    downloads = AuditEvent.objects.filter(kind="download", user_name="alice").values_list("target", flat=True)
    assert {name.rpartition(".")[2] for name in downloads} == {"csv", "jsonl"}


def test_the_page_reads_the_events_in_one_query(alice: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            alice.get(address())
        return len(captured)

    record("first", team=make_team())
    queries()
    with_one = queries()
    for number in range(30):
        record(f"event {number}", team=make_team())
    assert queries() == with_one
