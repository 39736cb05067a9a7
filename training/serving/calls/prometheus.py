"""Metrics of all services for Prometheus (training.serving.metrics)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from training.models import Service
from training.serving.calls.counters import middle_ms, upper_ms

LABEL_NAMES = ["service", "service_id", "project"]
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ServiceCollector(Collector):
    """Reads the database once for each scrape."""

    def collect(self) -> Iterator[Metric]:
        services = list(Service.objects.alive().select_related("project", "training_version"))
        calls = CounterMetricFamily("exeml_service_calls", "Calls answered or refused.", labels=LABEL_NAMES)
        failed = CounterMetricFamily("exeml_service_failed_calls", "Calls refused.", labels=LABEL_NAMES)
        up = GaugeMetricFamily("exeml_service_up", "1 while the service is Running.", labels=LABEL_NAMES)
        latency = HistogramMetricFamily(
            "exeml_service_latency_seconds",
            "Time from the head of a call to its answer; failed calls are not timed.",
            labels=LABEL_NAMES,
        )
        unknown = CounterMetricFamily(
            "exeml_service_unknown_pictures", "Pictures unknown to the model.", labels=LABEL_NAMES
        )
        for service in services:
            names = [service.name, str(service.pk), service.project.name]
            calls.add_metric(names, service.calls)
            failed.add_metric(names, service.failed_calls)
            up.add_metric(names, int(service.is_running))
            buckets = Counter({int(bucket): count for bucket, count in service.latency_buckets.items()})
            unknown.add_metric(names, service.unknown_pictures)
            latency.add_metric(names, _cumulative(buckets), _total_s(buckets))
        yield from (calls, failed, up, latency, unknown)


def _cumulative(buckets: Counter[int]) -> list[tuple[str, float]]:
    pairs = [
        (str(edge), float(sum(calls for bucket, calls in buckets.items() if upper_ms(bucket) <= 1e3 * edge)))
        for edge in BUCKETS_S
    ]
    return [*pairs, ("+Inf", float(sum(buckets.values())))]


def _total_s(buckets: Counter[int]) -> float:
    """An estimate of the sum in seconds: each call counts as the middle of its bucket."""
    return sum(calls * middle_ms(bucket) for bucket, calls in buckets.items()) / 1e3
