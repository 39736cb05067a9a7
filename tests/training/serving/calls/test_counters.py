"""Counting calls in memory and writing them now and then: nothing twice, nothing lost."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.utils import timezone

from tests.factories import make_user
from training.models import CallMinute, Service, TrainingVersion
from training.serving import deploy
from training.serving.calls import counters
from training.serving.calls.counters import bucket_of, quantile_ms, upper_ms


@pytest.fixture
def service(version: TrainingVersion) -> Service:
    counters.flush()  # what other tests counted
    return deploy.deploy(version, make_user("alice"), 1)[0]


def note(service: Service, **seen: object) -> None:
    counters.record_call(service.pk, service.training_version_id, 12.0, **seen)


def total(service: Service) -> tuple[int, int]:
    service.refresh_from_db()
    return service.calls, service.failed_calls


def test_a_minute_is_written_again_with_what_came_since(service: Service) -> None:
    note(service, labels=["roses"])
    counters.flush()
    note(service, labels=["roses", "tulips"], unknown=1)
    note(service, error="IMAGE_UNREADABLE")
    counters.flush()
    rows = CallMinute.objects.filter(service=service)
    assert sum(row.calls for row in rows) == 3 == total(service)[0]
    assert sum(row.failed for row in rows) == 1 == total(service)[1]
    last = rows.order_by("-minute").first()
    assert last.errors == {"IMAGE_UNREADABLE": 1} and last.unknown == 1
    assert sum(last.buckets.values()) == last.calls


def test_writing_without_news_changes_nothing(service: Service, django_assert_num_queries) -> None:
    note(service)
    counters.flush()
    counters.flush()
    assert total(service) == (1, 0)


def test_what_could_not_be_written_is_written_later(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OperationalError("database is locked")

    note(service)
    with monkeypatch.context() as context:
        context.setattr(counters, "_write", broken)
        counters.flush()
    assert total(service) == (0, 0)
    note(service)
    counters.flush()
    assert total(service) == (2, 0)
    assert sum(row.calls for row in CallMinute.objects.filter(service=service)) == 2


def test_minutes_go_when_no_window_shows_them_any_more(service: Service) -> None:
    note(service)
    counters.flush()
    note(service)
    now = timezone.now().replace(second=0, microsecond=0)
    CallMinute.objects.filter(service=service).update(minute=now - timedelta(days=46))
    counters.flush()
    assert counters.forget_old() == 1
    assert CallMinute.objects.filter(service=service).count() == 1 and total(service) == (2, 0)


def test_calls_of_a_service_that_is_gone_stop_nothing(service: Service) -> None:
    counters.record_call(uuid4(), service.training_version_id, 1.0)
    note(service)
    counters.flush()
    assert total(service) == (1, 0)


@pytest.mark.parametrize("ms", [0.01, 1.0, 1.1, 7.3, 250.0, 61_000.0])
def test_a_class_of_latency_is_at_most_a_fifth_too_high(ms: float) -> None:
    upper = upper_ms(bucket_of(ms))
    assert max(ms, 1.0) <= upper * 1.0000001 and upper <= 1.19 * max(ms, 1.0)


def test_quantiles_are_those_of_the_calls() -> None:
    buckets = {bucket_of(10): 95, bucket_of(100): 4, bucket_of(1000): 1}
    assert quantile_ms(buckets, 0.5) == pytest.approx(10, rel=0.2)
    assert quantile_ms(buckets, 0.99) == pytest.approx(100, rel=0.2)
    assert quantile_ms(buckets, 1.0) == pytest.approx(1000, rel=0.2)
    assert quantile_ms({}, 0.5) is None
