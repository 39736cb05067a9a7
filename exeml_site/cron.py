"""What happens by the clock: `manage.py rqcron exeml_site.cron` puts these jobs on the short queue.

Names of `settings.JOBS` rather than imports, so that a test can say which one is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.utils.module_loading import import_string
from rq.cron import register

DAY_S = 24 * 60 * 60


@dataclass(frozen=True)
class PeriodicJob:
    """A job of `settings.JOBS` without arguments that is safe to run twice."""

    name: str
    every_s: int


PERIODIC_JOBS = (
    PeriodicJob("sweep_trainings", 15),
    PeriodicJob("stop_expired_services", 30),
    PeriodicJob("resume_version_changes", 30),
    PeriodicJob("resume_batches", 15),
    PeriodicJob("resume_imports", 15),
    PeriodicJob("resume_embedding", 60),
    PeriodicJob("resume_forecasts", 60 * 60),
    PeriodicJob("delete_old_collected_calls", DAY_S),
    PeriodicJob("delete_old_call_counts", DAY_S),
    PeriodicJob("empty_bins", DAY_S),  # by interval, since a desk's computer sleeps at night
)

for job in PERIODIC_JOBS:
    register(
        import_string(settings.JOBS[job.name]),
        settings.QUEUE_SHORT,
        interval=job.every_s,
        ttl=job.every_s,  # one that waited this long has been followed by the next
        result_ttl=60,
        failure_ttl=DAY_S,
        job_timeout=max(job.every_s, 60),
    )
