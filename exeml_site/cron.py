"""Periodic jobs: `manage.py rqcron exeml_site.cron` puts them on their queues.

Jobs are given by their names in `settings.JOBS`, so that a test finds missing ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.utils.module_loading import import_string
from rq.cron import register

DAY_S = 24 * 60 * 60


@dataclass(frozen=True)
class PeriodicJob:
    """A job of `settings.JOBS` without arguments, which is safe to run twice."""

    name: str
    every_s: int
    queue: str = settings.QUEUE_SHORT
    timeout_s: int = 0  # at least; without, the interval


PERIODIC_JOBS = (
    PeriodicJob("sweep_trainings", 15),
    PeriodicJob("stop_expired_services", 30),
    PeriodicJob("resume_version_changes", 30),
    PeriodicJob("resume_batches", 15),
    PeriodicJob("resume_evaluations", 15),
    PeriodicJob("resume_imports", 15),
    PeriodicJob("resume_embedding", 60),
    PeriodicJob("send_notices", 30),
    PeriodicJob("measure_trainings", 60),
    PeriodicJob("measure_services", 60),
    PeriodicJob("resume_forecasts", 60 * 60),
    PeriodicJob("measure_models", 60 * 60),
    PeriodicJob("measure_calls", 60 * 60),
    PeriodicJob("measure_images", 60 * 60),
    PeriodicJob("forget_failed_attempts", 60 * 60),
    PeriodicJob("forget_invitations", DAY_S),
    PeriodicJob("forget_idempotent_calls", DAY_S),
    PeriodicJob("sweep_temporary_files", 60 * 60),
    PeriodicJob("delete_old_collected_calls", DAY_S),
    PeriodicJob("delete_old_shadow_answers", DAY_S),
    PeriodicJob("delete_old_call_counts", DAY_S),
    PeriodicJob("delete_old_audit_events", DAY_S),
    PeriodicJob("back_up_when_due", 10 * 60, settings.QUEUE_BACKUPS, DAY_S),
    PeriodicJob("clear_sessions", DAY_S),
    PeriodicJob("delete_stored_leftovers", DAY_S),
    PeriodicJob("purge_projects", DAY_S),
    PeriodicJob("empty_bins", DAY_S),  # an interval, not a time of day: desktop computers are off at night
)

for job in PERIODIC_JOBS:
    if job.queue not in settings.RQ_QUEUES:
        continue
    register(
        import_string(settings.JOBS[job.name]),
        job.queue,
        interval=job.every_s,
        ttl=job.every_s,  # a job that waited this long is replaced by the next one
        result_ttl=60,
        failure_ttl=DAY_S,
        job_timeout=max(job.every_s, job.timeout_s, 60),
    )
