"""/metrics of the whole site, and that the dashboard and the alert rules of deploy/ name what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import django_rq
import pytest
import yaml
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from rq import SimpleWorker

from projects.models import Machine, TeamQuota
from projects.usage import storage
from tests.factories import make_project, make_version
from training.models import Service, Status, TrainingVersion
from training.serving import metrics

pytestmark = pytest.mark.django_db
DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
NAME = re.compile(r"\bexeml_[a-z_]+\b")


def samples() -> dict[tuple[str, str], float]:
    """By name and label values, as in ("exeml_trainings", "Running")."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def expressions() -> Iterator[str]:
    for panel in json.loads((DEPLOY / "grafana.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


@pytest.fixture
def full_site(redis: Redis) -> None:
    """A row for every metric."""
    project = make_project(labels=1, images=2)
    version = make_version(project, 1, Status.COMPLETED)
    Service.objects.create(project=project, training_version=version, name="s", status="Failed", calls=5)
    TeamQuota.objects.create(team=project.team, max_storage_gb=2)
    storage.measure()
    add_machine("alpha", timedelta(seconds=20))


def add_machine(host: str, silence: timedelta) -> None:
    seen_at = timezone.now() - silence
    Machine.objects.create(host=host, data_folder="/srv/exeml", started_at=seen_at, seen_at=seen_at)


def test_a_machine_that_does_not_report_is_an_alert(redis: Redis) -> None:
    add_machine("alpha", timedelta(seconds=20))
    add_machine("beta", timedelta(minutes=6))
    values = samples()
    silent = {
        host: values["exeml_machine_silence_seconds", f"/srv/exeml,{host}"] for host in ("alpha", "beta")
    }
    assert silent == {"alpha": pytest.approx(20, abs=20), "beta": pytest.approx(360, abs=20)}
    assert "exeml_machine_silence_seconds > 300" in set(expressions())


def test_every_metric_of_the_dashboard_and_of_the_alerts_exists(full_site: None) -> None:
    values = {name for name, _ in samples()}
    named = {name for expression in expressions() for name in NAME.findall(expression)}
    assert named and named - values == set()
    histogram_parts = {"exeml_service_latency_seconds_count", "exeml_service_latency_seconds_sum"}
    assert {name for name in values if name.startswith("exeml_")} - named <= histogram_parts


def test_values_in_expressions_are_those_that_labels_have(full_site: None) -> None:
    values = {value for _, labels in samples() for value in labels.split(",")}
    asked = {
        value
        for expression in expressions()
        for matched in re.findall(r'(?:status|queue|kind)=~?"([^"]+)"', expression)
        for value in matched.split("|")
    }
    assert asked and asked <= values


def test_the_dashboard_and_the_rules_are_complete() -> None:
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    rules = [
        rule
        for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    ]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 8
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in rules)


def test_trainings_by_status_and_the_longest_wait(redis: Redis) -> None:
    project = make_project(images=0)
    make_version(project, 1, Status.RUNNING)
    silent = timezone.now() - timedelta(minutes=2)
    make_version(project, 2, Status.RUNNING, heartbeat_at=silent)
    waiting = make_version(project, 3)
    TrainingVersion.objects.filter(pk=waiting.pk).update(submitted_at=timezone.now() - timedelta(minutes=5))
    values = samples()
    assert values["exeml_trainings", "Running"] == 2 and values["exeml_trainings", "Completed"] == 0
    assert values["exeml_trainings_silent", ""] == 1
    assert values["exeml_training_longest_wait_seconds", ""] == pytest.approx(300, abs=20)


def test_queues_with_their_workers(redis: Redis) -> None:
    queue = django_rq.get_queue("short", commit_mode="auto")
    queue.enqueue(print, "x")
    worker = SimpleWorker([queue], connection=queue.connection)
    worker.register_birth()
    values = samples()
    assert values["exeml_queue_jobs", "short"] == 1 and values["exeml_queue_jobs", "cpu"] == 0
    assert values["exeml_workers", "short"] == 1 and values["exeml_workers", "cpu"] == 0
    assert 0 <= values["exeml_queue_longest_wait_seconds", "short"] < 20
    assert values["exeml_queue_longest_wait_seconds", "cpu"] == 0
    assert values["exeml_redis_up", ""] == 1


def test_without_redis_the_rest_is_told() -> None:
    values = samples()
    assert values["exeml_redis_up", ""] == 0
    assert "exeml_workers" not in {name for name, _ in values}
    assert values["exeml_trainings", "Running"] == 0


def test_disk_and_storage(full_site: None) -> None:
    values = {name: value for (name, _), value in samples().items()}
    assert 0 < values["exeml_disk_free_bytes"] <= values["exeml_disk_size_bytes"]
    assert values["exeml_team_storage_bytes"] > 0 and values["exeml_team_storage_limit_bytes"] == 2e9


def test_prometheus_reads_them_with_its_token(settings: Any) -> None:
    settings.EXEML_METRICS_TOKEN = "a-token"
    answer = Client().get("/metrics", headers={"Authorization": "Bearer a-token"})
    assert answer.status_code == 200 and b"exeml_redis_up 0.0" in answer.content
