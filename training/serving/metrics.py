"""What `/metrics` tells Prometheus: services, trainings, queues, disk and storage."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import django_rq
from django.conf import settings
from django.db.models import Count, Min, Sum
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from rq.worker import BaseWorker

from exeml_site.lib import jobs
from projects.models import Machine, TeamQuota, Transfer, Usage, UsageKind
from projects.usage.ledger import month_of
from training.models import Batch, Service, Status, TrainingVersion
from training.serving.calls.prometheus import ServiceCollector


def exposition() -> bytes:
    """All metrics as Prometheus text."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in COLLECTORS:
        registry.register(collector())
    return generate_latest(registry)


class _WorkCollector(Collector):
    """Trainings, services, imports and batches."""

    def collect(self) -> Iterator[Metric]:
        trainings = GaugeMetricFamily("exeml_trainings", "Training versions.", labels=["status"])
        versions = TrainingVersion.objects.alive().order_by()
        counted = dict(versions.values_list("status").annotate(Count("pk")))
        for status in Status.values:
            trainings.add_metric([status], counted.get(status, 0))
        services = GaugeMetricFamily("exeml_services", "Services.", labels=["status"])
        counted = dict(Service.objects.alive().order_by().values_list("status").annotate(Count("pk")))
        for status in Service.Status.values:
            services.add_metric([status], counted.get(status, 0))
        yield from (trainings, services)
        waiting = TrainingVersion.objects.active().filter(status=Status.INITIALIZING)
        yield GaugeMetricFamily(
            "exeml_training_longest_wait_seconds",
            "Since the oldest training that waits for a worker was submitted.",
            value=_age(waiting.aggregate(oldest=Min("submitted_at"))["oldest"]),
        )
        yield GaugeMetricFamily(
            "exeml_trainings_silent",
            "Trainings without a heartbeat for 30 seconds that no worker has taken over.",
            value=TrainingVersion.objects.silent().filter(status=Status.RUNNING).count(),
        )
        active = GaugeMetricFamily(
            "exeml_active_jobs", "Imports and batches that wait or run.", labels=["kind"]
        )
        active.add_metric(["import"], Transfer.objects.active().count())
        active.add_metric(["batch"], Batch.objects.active().count())
        yield active


class _QueueCollector(Collector):
    """Queues and their workers, as long as Redis answers."""

    def collect(self) -> Iterator[Metric]:
        sizes = GaugeMetricFamily("exeml_queue_jobs", "Jobs that wait.", labels=["queue"])
        waits = GaugeMetricFamily(
            "exeml_queue_longest_wait_seconds", "Since the next job was enqueued.", labels=["queue"]
        )
        failed = GaugeMetricFamily("exeml_queue_failed_jobs", "Jobs that failed lately.", labels=["queue"])
        workers = GaugeMetricFamily("exeml_workers", "Live workers.", labels=["queue"])
        is_up = True
        try:
            for name in settings.RQ_QUEUES:
                queue = django_rq.get_queue(name)
                sizes.add_metric([name], queue.count)
                begin = jobs.next_enqueued_at(queue)
                waits.add_metric([name], _age(begin if begin < datetime.max.replace(tzinfo=UTC) else None))
                failed.add_metric([name], queue.failed_job_registry.count)
                workers.add_metric([name], BaseWorker.count(queue=queue))
        except (RedisError, OSError):
            is_up = False
        yield GaugeMetricFamily("exeml_redis_up", "1 while Redis answers.", value=int(is_up))
        yield from (sizes, waits, failed, workers)


class _StorageCollector(Collector):
    """The disk of this machine, and what each team stores."""

    def collect(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("exeml_disk_free_bytes", "Of the data folder's disk.", labels=["host"])
        size = GaugeMetricFamily("exeml_disk_size_bytes", "Of the data folder's disk.", labels=["host"])
        disk, host = shutil.disk_usage(settings.DATA_DIR), socket.gethostname()
        free.add_metric([host], disk.free)
        size.add_metric([host], disk.total)
        stored = GaugeMetricFamily(
            "exeml_team_storage_bytes", "Images and models, the most of this month.", labels=["team"]
        )
        rows = Usage.objects.filter(month=month_of(timezone.now()), kind=UsageKind.STORAGE).order_by()
        for team, quantity in rows.values_list("team_name").annotate(Sum("quantity")):
            stored.add_metric([team], quantity)
        limits = GaugeMetricFamily("exeml_team_storage_limit_bytes", "Set by operators.", labels=["team"])
        for quota in TeamQuota.objects.exclude(max_storage_gb=None).select_related("team"):
            limits.add_metric([quota.team.name], (quota.max_storage_gb or 0) * 1e9)
        yield from (free, size, stored, limits)


class _MachineCollector(Collector):
    """Each machine, as it reports itself to the database once a minute."""

    def collect(self) -> Iterator[Metric]:
        silence = GaugeMetricFamily(
            "exeml_machine_silence_seconds", "Since it has reported.", labels=["host", "data_folder"]
        )
        for machine in Machine.objects.all():
            silence.add_metric([machine.host, machine.data_folder], _age(machine.seen_at))
        yield silence


COLLECTORS = (ServiceCollector, _WorkCollector, _QueueCollector, _StorageCollector, _MachineCollector)


def _age(moment: datetime | None) -> float:
    """Seconds since then; 0 if there is none."""
    return max(0.0, (timezone.now() - moment).total_seconds()) if moment else 0.0
