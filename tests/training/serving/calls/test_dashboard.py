"""Monitoring: minutes added up, charts, drift beyond the uncertainty, Prometheus."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from projects.workspace import login_throttle
from tests.factories import make_user, make_version
from tests.pages import html_of
from training.models import CallMinute, EvaluatedImage, Service, Status, TrainingVersion
from training.serving import deploy
from training.serving.calls import charts, counters, dashboard, drift
from training.serving.calls.counters import bucket_of


@pytest.fixture
def service(version: TrainingVersion) -> Service:
    counters.flush()
    return deploy.deploy(version, make_user("alice"), 1)[0]


def minute(service: Service, minutes_ago: int = 1, **fields: object) -> CallMinute:
    at = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=minutes_ago)
    values = {"calls": 10, "buckets": {str(bucket_of(20)): 10}, "labels": {"roses": 10}}
    values["training_version"] = service.training_version
    return CallMinute.objects.create(
        service=service,
        minute=at,
        process=uuid4(),
        **(values | fields),
    )


def evaluated(version: TrainingVersion, label: str, count: int, is_known: bool | None = True) -> None:
    EvaluatedImage.objects.bulk_create(
        EvaluatedImage(
            training_version=version,
            truth=[label],
            predicted=[label],
            scores=[1.0],
            confidence=1.0,
            is_correct=True,
            is_known=is_known,
        )
        for _ in range(count)
    )


def test_processes_and_minutes_are_added_up(service: Service) -> None:
    minute(service)
    minute(service, failed=3, errors={"IMAGE_UNREADABLE": 3})
    minute(service, 30, calls=5, buckets={str(bucket_of(500)): 5}, unknown=2)
    minute(service, 60 * 30)  # yesterday
    board = dashboard.load_dashboard(service, 1)
    assert (board.total.calls, board.total.failed, board.total.unknown) == (25, 3, 2)
    assert board.total.errors.most_common() == [("IMAGE_UNREADABLE", 3)]
    p50, p95, _ = board.total.latencies_ms
    assert p50 == pytest.approx(20, rel=0.2) and p95 == pytest.approx(500, rel=0.2)
    assert sum(step.counts.calls for step in board.steps) == 25 and 60 <= len(board.steps) <= 61
    assert dashboard.load_dashboard(service, 168).total.calls == 35


@pytest.mark.parametrize("hours", dashboard.WINDOWS)
def test_every_window_has_steps_up_to_now(service: Service, hours: int) -> None:
    minute(service, 0)
    board = dashboard.load_dashboard(service, hours)
    assert board.steps[-1].counts.calls == 10
    bars, most = charts.call_bars(board.steps)
    assert most == 10 and bars[-1].height == charts.HEIGHT
    lines, max_ms = charts.latency_lines(board.steps)
    assert [line.name for line in lines] == ["p50", "p95", "p99"] and max_ms >= 20
    assert all(len(line.paths) == 1 for line in lines)


def test_labels_over_time_are_parts_of_each_step(service: Service) -> None:
    minute(service, 0, labels={"roses": 6, "tulips": 4})
    minute(service, 30, labels={"tulips": 5})
    board = dashboard.load_dashboard(service, 1)
    legend, bands = charts.label_bands(board.steps, board.total)
    assert legend == [("tulips", 0), ("roses", 1)]
    assert [(band.colour, band.height) for band in bands] == [(0, 120), (0, 48), (1, 72)]
    assert (bands[1].y, bands[2].y) == (72, 0), "the parts of a step fill its height"
    assert bands[2].title.endswith("roses 6 of 10")


def test_rare_labels_of_the_chart_are_put_together(service: Service) -> None:
    minute(service, labels={f"label {number}": 20 - number for number in range(9)})
    board = dashboard.load_dashboard(service, 1)
    legend, bands = charts.label_bands(board.steps, board.total)
    assert len(legend) == charts.MAX_BANDS + 1 and legend[-1] == (charts.OTHERS, charts.OTHERS_COLOUR)
    assert bands[-1].title.endswith(f"others {14 + 13 + 12} of {sum(range(12, 21))}")
    assert sum(band.height for band in bands) == pytest.approx(charts.HEIGHT, abs=0.1)


def test_drift_is_reported_where_shares_differ_beyond_the_uncertainty(service: Service) -> None:
    version = service.training_version
    evaluated(version, "roses", 60)
    evaluated(version, "tulips", 60)
    minute(service, labels={"roses": 90, "tulips": 10}, calls=100, unknown=30)
    (more, less, unknown) = drift.find_drift(version, dashboard.load_dashboard(service, 1).total).sentences
    assert (
        more
        == "“roses” is predicted more often than in the evaluation: 90 % of the images, compared with 50 %."
    )
    assert "“tulips” is predicted less often" in less
    assert "30 %, compared with 0 %" in unknown


def test_unknown_images_are_a_share_of_the_images_of_the_version_that_answers_now(service: Service) -> None:
    version = service.training_version
    evaluated(version, "roses", 60)
    minute(service, labels={"roses": 320}, calls=10, images=320, unknown=12)  # 32 images in each call
    before = make_version(service.project, 9, Status.COMPLETED)
    minute(service, 2, training_version=before, labels={"tulips": 400}, calls=400, images=400, unknown=400)
    board = dashboard.load_dashboard(service, 1)
    assert (board.counts_of(version).images, board.counts_of(version).unknown) == (320, 12)
    assert drift.find_drift(version, board.counts_of(version)).sentences == []


def test_minutes_of_before_have_at_least_as_many_images_as_unknown_ones(service: Service) -> None:
    version = service.training_version
    evaluated(version, "roses", 60)
    minute(service, labels={"roses": 320}, calls=10, unknown=200)  # images were not counted then
    counts = dashboard.load_dashboard(service, 1).counts_of(version)
    assert counts.images == 200
    (sentence,) = drift.find_drift(version, counts).sentences
    assert sentence.startswith(
        "More images are unknown to the model than in its evaluation: 100 %, compared with 0 %."
    )


def test_few_pictures_and_equal_shares_say_nothing(service: Service) -> None:
    version = service.training_version
    evaluated(version, "roses", 60)
    evaluated(version, "tulips", 60)
    minute(service, labels={"roses": 20})
    assert drift.find_drift(version, dashboard.load_dashboard(service, 1).total).sentences == []
    minute(service, 2, labels={"roses": 35, "tulips": 50}, calls=85)
    assert drift.find_drift(version, dashboard.load_dashboard(service, 1).total).sentences == []


def test_the_page_shows_calls_latency_labels_and_versions(service: Service, vera: Client) -> None:
    minute(service, failed=2, errors={"IMAGE_UNREADABLE": 2})
    address = reverse("service_monitoring", args=[service.project_id, service.pk])
    page = html_of(vera.get(address, {"hours": "1"}))
    for text in (
        "20.0 %",
        "of 8 answered",
        "IMAGE_UNREADABLE",
        "roses",
        "V001",
        "p95",
        'hx-trigger="every 10s"',
    ):
        assert text in page
    assert "No calls in this period" in html_of(vera.get(address, {"hours": "x"})) or "roses" in page
    part = html_of(vera.get(address, {"hours": "1"}, headers={"HX-Request": "true"}))
    assert "<html" not in part and part.lstrip().startswith('<div class="stack" id="monitoring"')


def test_without_calls_the_page_says_so(service: Service, vera: Client) -> None:
    address = reverse("service_monitoring", args=[service.project_id, service.pk])
    assert "No calls in this period" in html_of(vera.get(address))


def test_prometheus_reads_what_was_counted(service: Service, settings) -> None:
    settings.EXEML_METRICS_TOKEN = "scrape"
    for number in range(10):
        seen = {"error": "IMAGE_UNREADABLE"} if number < 2 else {"unknown": int(number < 5)}
        counters.record_call(service.pk, service.training_version_id, 20.0, **seen)
    counters.flush()
    CallMinute.objects.all().delete()  # forgotten minutes take nothing from the counters
    answer = Client().get("/metrics", headers={"Authorization": "Bearer scrape"})
    assert (answer.status_code == 200 and "version=1" in answer["Content-Type"]) or "0.0.4" in answer[
        "Content-Type"
    ]
    values = {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
        if sample.labels.get("service_id") == str(service.pk)
    }
    assert values["exeml_service_calls_total", ""] == 10
    assert values["exeml_service_failed_calls_total", ""] == 2
    assert values["exeml_service_latency_seconds_count", ""] == 8, "failed calls are not timed"
    assert values["exeml_service_unknown_pictures_total", ""] == 3
    assert values["exeml_service_up", ""] == 0
    assert values["exeml_service_latency_seconds_bucket", "0.01"] == 0
    assert values["exeml_service_latency_seconds_bucket", "0.025"] == 8


@pytest.mark.parametrize("path", ["/metrics", "/admin/rq/metrics", "/admin/rq/stats.json"])
def test_tokens_of_the_metrics_cannot_be_tried_without_end(db: None, path: str) -> None:
    most, _ = login_throttle.LIMITS[login_throttle.Kind.TOKENS]
    statuses = [
        Client().get(path, headers={"Authorization": f"Bearer {number}"}).status_code
        for number in range(most + 1)
    ]
    assert statuses == [401] * most + [429]


def test_metrics_are_for_operators_and_the_token(service: Service, settings, alice: Client) -> None:
    assert Client().get("/metrics").status_code == alice.get("/metrics").status_code == 401
    assert Client().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 401
    settings.EXEML_METRICS_TOKEN = "scrape"
    assert Client().get("/metrics", headers={"Authorization": "Bearer é"}).status_code == 401
    operator = Client()
    operator.force_login(User.objects.create_user("operator", is_staff=True))
    assert operator.get("/metrics").status_code == 200
