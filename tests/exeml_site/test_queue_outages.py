"""Real workers whose Redis is killed and started again, with its data or without."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import django_rq
import pytest
from django_rq.settings import QUEUES
from rq.job import JobStatus
from rq.worker import Worker

from exeml_site.lib import jobs
from exeml_site.supervisor.redis_server import choose_endpoint, redis_program
from tests.exeml_site import workers
from tests.exeml_site.test_worker import QUEUE, enqueue, pids, wait_until
from tests.exeml_site.workers import running_worker

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


class KilledRedis:
    """The Redis that `up` starts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder / "data", choose_endpoint(folder / "redis.sock")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = redis_program(self.place, self.folder).command
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(lambda: jobs.gpus_of_workers(QUEUE) is not None)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def killed_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KilledRedis]:
    server = KilledRedis(tmp_path / "redis")
    for name, options in QUEUES.items():
        monkeypatch.setitem(QUEUES, name, {**options, "URL": server.place.url})
    (tmp_path / "redis").mkdir()
    server.start()
    yield server
    server.kill()
    server.place.clear()


def test_a_job_and_its_worker_outlive_a_restart(killed_redis: KilledRedis, tmp_path: Path) -> None:
    job = enqueue(workers.wait_for_the_word, str(tmp_path))
    with running_worker("tests.exeml_site.workers.QuickSpawningWorker", QUEUE) as worker:
        wait_until(lambda: pids(tmp_path))
        killed_redis.kill()
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(4)
        killed_redis.start()
        assert jobs.is_under_way("job", QUEUE)
        (tmp_path / "go").touch()
        wait_until(lambda: job.get_status(refresh=True) == JobStatus.FINISHED, 20)
        assert worker.poll() is None and len(pids(tmp_path)) == 1


def test_a_redis_without_its_data_hears_again_which_workers_and_jobs_there_are(
    killed_redis: KilledRedis, tmp_path: Path
) -> None:
    enqueue(workers.wait_for_the_word, str(tmp_path))
    with running_worker("tests.exeml_site.workers.QuickForkingWorker", QUEUE) as worker:
        wait_until(lambda: pids(tmp_path))
        killed_redis.kill()
        shutil.rmtree(killed_redis.folder)
        killed_redis.start()
        wait_until(lambda: jobs.is_under_way("job", QUEUE), 20)
        queue = django_rq.get_queue(QUEUE)
        assert [found.pid for found in Worker.all(queue=queue)] == [worker.pid]
        (tmp_path / "go").touch()
        wait_until(lambda: not jobs.is_under_way("job", QUEUE), 20)
        again = queue.enqueue_call(workers.note_pid, (str(tmp_path),), result_ttl=600)
        wait_until(lambda: again.get_status(refresh=True) == JobStatus.FINISHED, 20)
        assert worker.poll() is None and len(pids(tmp_path)) == 2


def test_a_worker_that_waits_for_redis_ends_when_it_is_asked_to(killed_redis: KilledRedis) -> None:
    with running_worker("exeml_site.worker.InProcessWorker", QUEUE) as worker:
        wait_until(lambda: jobs.gpus_of_workers(QUEUE))
        killed_redis.kill()
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(2)
        worker.terminate()
        assert worker.wait(20) == 0
