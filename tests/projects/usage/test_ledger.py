"""What is measured each month, and that measuring again counts nothing twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from projects.models import Team, Usage
from projects.usage import storage
from projects.usage.ledger import month_of, seconds_by_month
from projects.usage.report import MonthlyUsage, months
from tests.factories import cpu_flavor, make_image, make_project, make_user, make_version
from training.models import CallMinute, Service, Status
from training.serving import deploy
from training.serving.calls import usage as service_usage
from training.versions import lifecycle
from training.versions import usage as training_usage

pytestmark = pytest.mark.django_db


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def quantities(kind: str) -> list[tuple[date, float]]:
    rows = Usage.objects.filter(kind=kind).order_by("month", "source").values_list("month", "quantity")
    return [(month, round(quantity)) for month, quantity in rows]


@pytest.mark.parametrize(
    ("begin", "end", "seconds"),
    [
        ("2026-11-30 23:00", "2026-12-01 01:00", {date(2026, 11, 1): 3600, date(2026, 12, 1): 3600}),
        ("2026-11-02 00:00", "2026-11-02 00:00", {}),
        ("2025-12-31 23:59", "2026-02-01 00:00", {date(2025, 12, 1): 60, date(2026, 1, 1): 31 * 86400}),
    ],
)
def test_seconds_belong_to_their_months(begin: str, end: str, seconds: dict[date, float]) -> None:
    assert dict(seconds_by_month(at(begin), at(end))) == seconds


def test_months_are_those_of_the_time_zone_of_the_site(settings: Any) -> None:
    with timezone.override("Asia/Tokyo"):
        assert month_of(at("2026-11-30 20:00")) == date(2026, 12, 1)


def test_a_training_counts_its_hours_its_price_and_who_submitted_it() -> None:
    now = timezone.now()
    version = make_version(
        make_project(images=0),
        status=Status.COMPLETED,
        started_at=now - timedelta(minutes=90),
        finished_at=now,
    )
    fields = {"flavor_name": "Big GPU", "price_per_hour": "2.50", "submitted_by": make_user("alice")}
    type(version).objects.update(**fields)
    for _ in range(2):
        training_usage.measure()
    month = month_of(now)
    lines = [
        line for each in {month, month_of(now - timedelta(minutes=90))} for line in MonthlyUsage(each).lines
    ]
    assert sum(line.quantity for line in lines) == pytest.approx(1.5)
    assert sum(line.cost for line in lines) == pytest.approx(3.75)
    assert {(line.person, line.flavor, line.project) for line in lines} == {("alice", "Big GPU", "flowers")}
    assert version.project.team.usage.exists()


def test_a_running_training_grows_and_an_old_one_is_left_alone() -> None:
    project, now = make_project(images=0), timezone.now()
    make_version(project, 1, Status.RUNNING, started_at=now - timedelta(seconds=50))
    old = now - timedelta(days=30)
    make_version(project, 2, Status.COMPLETED, started_at=old, finished_at=old + timedelta(hours=1))
    training_usage.measure()
    first = Usage.objects.get().quantity
    training_usage.measure()
    assert 50 <= first < Usage.objects.get().quantity < 60


def test_a_retry_keeps_the_time_of_the_run_before_it() -> None:
    now, project = timezone.now(), make_project(images=0)
    version = make_version(
        project,
        status=Status.FAILED,
        started_at=now - timedelta(minutes=20),
        finished_at=now - timedelta(minutes=10),
    )
    lifecycle.retry(version, make_user("alice"))
    version.refresh_from_db()
    assert version.started_at is None
    type(version).objects.update(started_at=now - timedelta(minutes=5), finished_at=now)
    training_usage.measure()
    assert sum(Usage.objects.values_list("quantity", flat=True)) == pytest.approx(15 * 60)


def test_a_service_counts_while_it_runs(monkeypatch: Any) -> None:
    project = make_project(images=0)
    version = make_version(project, status=Status.COMPLETED)
    begin = timezone.now() - timedelta(minutes=10)
    fields = {"training_version": version, "name": "s", "deployed_by": make_user("alice")}
    service = Service.objects.create(project=project, status="Running", requested_at=begin, **fields)
    Service.objects.create(project=project, status="Stopped", requested_at=begin, **fields)
    service_usage.measure_hours()
    service_usage.measure_hours()
    assert sum(seconds for _, seconds in quantities("service")) == pytest.approx(600, abs=5)
    # stopped for five of the minutes since, started again two minutes ago
    Usage.objects.update(measured_at=timezone.now() - timedelta(minutes=7))
    Service.objects.filter(pk=service.pk).update(requested_at=timezone.now() - timedelta(minutes=2))
    service_usage.measure_hours()
    assert sum(seconds for _, seconds in quantities("service")) == pytest.approx(720, abs=5)


def test_a_service_counts_up_to_its_stop() -> None:
    """By a person, by Auto Stop and by its deletion; once."""
    project, alice = make_project(images=0), make_user("alice")
    version = make_version(project, status=Status.COMPLETED)
    now = timezone.now()
    stops = (
        lambda service: deploy.stop(service, alice),
        lambda service: deploy.delete(service, alice),
        lambda service: deploy.stop_expired(),
    )
    for number, stop in enumerate(stops, start=1):
        service = Service.objects.create(
            project=project,
            training_version=version,
            name=f"s{number}",
            deployed_by=alice,
            status="Running",
            requested_at=now - timedelta(seconds=600),
            stops_at=now,
        )
        stop(service)
        service.refresh_from_db()
        assert service.status == "Stopped"
        deploy.stop(service, alice)
        service_usage.measure_hours()
        assert sum(seconds for _, seconds in quantities("service")) == pytest.approx(600 * number, abs=9)


def test_calls_of_all_processes_are_added_and_stay_when_their_minutes_go() -> None:
    project = make_project(images=0)
    version = make_version(project, status=Status.COMPLETED)
    service = Service.objects.create(project=project, training_version=version, name="s", status="Running")
    minute = timezone.now().replace(second=0, microsecond=0)
    for calls in (3, 4):
        CallMinute.objects.create(
            service=service, training_version=version, minute=minute, process=uuid4(), calls=calls
        )
    service_usage.measure_calls()
    CallMinute.objects.all().delete()
    service_usage.measure_calls()
    assert [calls for _, calls in quantities("calls")] == [7]


def test_images_and_bytes_of_each_person_are_the_most_of_the_month() -> None:
    project = make_project(labels=1, images=2)
    own = make_image(project, 50)
    type(own).objects.filter(pk=own.pk).update(uploaded_by=make_user("bob"), size_bytes=5_000_000)
    storage.measure()
    own.delete()
    storage.measure()
    stored = MonthlyUsage(month_of(timezone.now()), project.team).stored
    by_person = {line.person: (round(line.quantity, 4), images) for line, images in stored}
    assert by_person["bob"] == (0.005, 1)
    assert by_person[""][1] == 2


def test_models_count_until_they_are_deleted() -> None:
    project = make_project(images=0)
    version = make_version(project, status=Status.COMPLETED, model_bytes=20_000_000)
    assert training_usage.model_bytes(project.team) == 20_000_000
    training_usage.measure_models()
    type(version).objects.update(deleted_at=timezone.now())
    assert training_usage.model_bytes(project.team) == 0
    assert [size for _, size in quantities("storage")] == [20_000_000]


def test_usage_outlives_its_project_and_its_team() -> None:
    project = make_project(labels=1, images=1)
    storage.measure()
    project.delete()
    Team.objects.filter(name="Greenhouse").delete()
    ((line, _),) = MonthlyUsage(month_of(timezone.now())).stored
    assert (line.team, line.project) == ("Greenhouse", "flowers")
    assert months(None) == [month_of(timezone.now())]


def test_the_flavor_of_the_price_is_that_of_the_submission() -> None:
    flavor = cpu_flavor()
    version = make_version(make_project(images=0), flavor=flavor)
    type(version).objects.update(price_per_hour="1.00")
    type(flavor).objects.update(price_per_hour="9.00")
    now = timezone.now()
    type(version).objects.update(started_at=now - timedelta(seconds=36), finished_at=now, status="Completed")
    training_usage.measure()
    assert MonthlyUsage(month_of(now)).cost == pytest.approx(0.01, abs=0.01)
