"""Counting calls in memory and writing them now and then: nothing twice, nothing lost."""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from uuid import uuid4

import numpy as np
import pytest
from django.db import OperationalError
from django.utils import timezone

from tests.factories import make_user
from training.models import CallMinute, Service, TrainingVersion
from training.serving import deploy
from training.serving.calls import counters
from training.serving.calls.counters import LAST_BUCKET, bucket_of, lower_ms, quantile_ms, upper_ms
from training.templatetags.service_tags import latency


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
    assert sum(last.buckets.values()) == last.calls - last.failed


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


@pytest.mark.parametrize("ms", [0.01, 1.0, 1.1, 7.3, 250.0, 29_000.0, 30_000.0])
def test_a_latency_lies_in_its_bucket_of_a_fifth(ms: float) -> None:
    lower, upper = lower_ms(bucket_of(ms)), upper_ms(bucket_of(ms))
    assert lower <= ms <= upper * 1.0000001 and (upper == 1.0 or upper <= 1.19 * lower * 1.001)


def test_quantiles_are_interpolated_in_their_bucket() -> None:
    dice = np.random.default_rng(0)
    times = dice.lognormal(3.0, 0.8, 20_000)
    buckets = Counter(bucket_of(ms) for ms in times)
    for share in (0.5, 0.9, 0.95, 0.99):
        assert quantile_ms(buckets, share) == pytest.approx(np.quantile(times, share), rel=0.02)
    assert quantile_ms({}, 0.5) is None


def test_calls_beyond_30_seconds_have_no_invented_time() -> None:
    buckets = {bucket_of(20): 90, bucket_of(45_000): 6, 64: 4}  # 64: of an older release, up to 65,536 ms
    assert bucket_of(45_000) == LAST_BUCKET and quantile_ms(buckets, 0.95) == math.inf
    assert latency(quantile_ms(buckets, 0.95)) == "over 30 s"
    assert [latency(4.21), latency(250), latency(12_500), latency(None)] == [
        "4.2 ms",
        "250 ms",
        "12.5 s",
        "--",
    ]


def test_a_refused_call_has_no_latency(service: Service) -> None:
    for ms in (10.0,) * 19 + (60_000.0,):
        error = "BODY_TOO_SLOW" if ms > 1000 else ""
        counters.record_call(service.pk, service.training_version_id, ms, error=error, images=1)
    counters.flush()
    row = CallMinute.objects.get()
    assert (row.calls, row.failed, row.images) == (20, 1, 19)
    assert row.buckets == {str(bucket_of(10.0)): 19}
    service.refresh_from_db()
    assert service.latency_buckets == {str(bucket_of(10.0)): 19}
