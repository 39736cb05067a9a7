"""The RQ workers: one starts a new interpreter for each job, one forks, one runs jobs in its own process.

Torch and OpenMP do not survive a fork, so trainings run in a fresh interpreter each. That interpreter
unpickles this module's class first, so this module sets up Django when it is imported.

A job that hangs is ended within MAX_IDLE_LOOKS looks: by its worker where it has a process of its own, else
by the supervisor, which looks at the workers themselves. The periodic sweeps enqueue its work again.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.apps import apps
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exeml_site.settings")
if not apps.ready:
    django.setup()

from redis.exceptions import RedisError
from rq.executions import ExecutionRegistry
from rq.worker import BaseWorker, SimpleWorker, SpawnWorker, Worker

from exeml_site.lib import activity, jobs
from exeml_site.lib.activity import ActivityWatch
from exeml_site.lib.gpu import has_gpu
from exeml_site.lib.outages.database import wait_for_database
from exeml_site.lib.outages.queue import stop_waiting, wait_for_queue
from exeml_site.lib.parent_death import be_nice_to_other_sessions, die_with_parent

if TYPE_CHECKING:
    from types import FrameType

    from rq.executions import Execution
    from rq.job import Job
    from rq.queue import Queue

log = logging.getLogger(__name__)


class PatientWorker(BaseWorker):
    """A worker that waits while Redis or the database does not respond, and then goes on with what it did."""

    max_connection_wait_time = 5.0  # RQ's own pauses between attempts would grow to a minute

    def bootstrap(self, *args: Any, **options: Any) -> None:
        self._wait_for_all()
        super().bootstrap(*args, **options)

    def _wait_for_all(self) -> None:
        wait_for_queue(self.connection)
        wait_for_database(math.inf)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        if pipeline is None and self._is_forgotten():
            self.register_birth()  # type: ignore[no-untyped-call]
        super().heartbeat(timeout, pipeline)

    def _is_forgotten(self) -> bool:
        """Whether a Redis without its data, or one that was away for long, no longer knows this worker."""
        return self.birth_date is not None and not self.connection.exists(self.key)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        stop_waiting()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def set_shutdown_requested_date(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]

    def teardown(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            super().teardown()  # type: ignore[no-untyped-call]


class WatchingWorker(PatientWorker, Worker):
    """A worker that forks a process for each job, ends it when it hangs, and notes in the job how it died."""

    look_interval_s = activity.LOOK_INTERVAL_S
    max_idle_looks = activity.MAX_IDLE_LOOKS

    @property
    def dequeue_timeout(self) -> int:
        return activity.WAKE_UP_S

    def bootstrap(self, *args: Any, **options: Any) -> None:
        self.job_monitoring_interval = self.look_interval_s
        _give_way(self.queue_names())
        super().bootstrap(*args, **options)

    def monitor_work_horse(self, job: Job, queue: Queue, execution: Execution) -> None:
        self._watch = ActivityWatch(self.horse_pid)
        self._is_hung = False
        self._oom_kills = _count_oom_kills()
        super().monitor_work_horse(job, queue, execution)

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Called at every look. A job without activity gets no more heartbeats: it is ended."""
        if self._watch.look() < self.max_idle_looks:
            if self._is_forgotten():
                self._register_again(job, execution)
            super().maintain_heartbeats(job, execution)
            return
        seconds = self.max_idle_looks * self.look_interval_s
        log.error("%s has done nothing for %d s and is ended", job.id, seconds)
        self._is_hung = True
        self.kill_horse(signal.SIGKILL)

    def _register_again(self, job: Job, execution: Execution) -> None:
        """Tell a Redis that forgot this worker what it works on: else another one would get the job."""
        self.register_birth()  # type: ignore[no-untyped-call]
        ttl = self.get_heartbeat_ttl(job)
        with self.connection.pipeline() as pipeline:
            job.save(pipeline=pipeline)
            execution.save(ttl, pipeline=pipeline)
            ExecutionRegistry(job.id, pipeline).add(execution, ttl, pipeline)
            job.started_job_registry.add_execution(execution, pipeline=pipeline, ttl=ttl, xx=False)
            pipeline.sadd(self.executions_key, execution.composite_key)
            pipeline.execute()

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: Any) -> None:
        """Note how the job's process died, as far as it is known."""
        jobs.note_death(job, self._death(ret_val))
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)  # type: ignore[no-untyped-call]

    def _death(self, wait_status: int) -> str:
        if self._is_hung:
            return jobs.HUNG
        code = os.waitstatus_to_exitcode(wait_status)
        if code == -signal.SIGKILL and _count_oom_kills() > self._oom_kills:
            return jobs.OUT_OF_MEMORY
        return f"exit code {code}" if code >= 0 else f"the signal {signal.Signals(-code).name}"


class SpawningWorker(WatchingWorker, SpawnWorker):
    """RQ's SpawnWorker with Django set up in the child process, which ends with its worker.

    A training lasts hours, so a worker that gets SIGTERM does not wait for it: it ends the job's process, the
    version stays Running, and `training.versions.recovery.sweep` enqueues it again.
    """

    has_gpu: bool | None = None  # None: not known

    def register_birth(self) -> None:
        """Also tells in Redis whether this machine has a GPU: `jobs.gpus_of_workers` reads it."""
        self.has_gpu = has_gpu()
        super().register_birth()  # type: ignore[no-untyped-call]
        if self.has_gpu is not None:
            self.connection.hset(self.key, jobs.HAS_GPU, int(self.has_gpu))

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Takes the oldest job of all queues on a machine without a GPU, where no job gains by going first.

        Elsewhere RQ takes all jobs of the first queue before those of the next.
        """
        if self.has_gpu is False:
            with contextlib.suppress(RedisError, OSError):  # RQ waits for Redis below
                self._ordered_queues.sort(key=jobs.next_enqueued_at)
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def execute_job(self, job: Job, queue: Queue) -> None:
        log.info("%s begins (queue %s)", job.id, queue.name)
        began = time.monotonic()
        super().execute_job(job, queue)
        log.info("%s ended after %.0f s", job.id, time.monotonic() - began)

    def handle_warm_shutdown_request(self) -> None:
        if self.horse_pid:
            self.kill_horse(signal.SIGTERM)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Runs in the spawned child. A worker killed by SIGKILL must not leave a training behind."""
        die_with_parent(self.pid or os.getppid(), signal.SIGKILL)
        self._wait_for_all()
        super().main_work_horse(job, queue)


class InProcessWorker(PatientWorker, SimpleWorker):
    """RQ's SimpleWorker, whose hanging jobs are the supervisor's to end: the process hangs with them.

    It replaces a process that the supervisor names in REPLACED_PID, and takes over that one's job.
    """

    @property
    def dequeue_timeout(self) -> int:
        return activity.WAKE_UP_S

    def bootstrap(self, *args: Any, **options: Any) -> None:
        _give_way(self.queue_names())
        super().bootstrap(*args, **options)
        if replaced := os.environ.get("REPLACED_PID"):
            jobs.expire_jobs_of(self, int(replaced))

    def subscribe(self) -> None:
        """No thread listens for commands: awake in a hung process, it would look like work."""


def _give_way(queues: list[str]) -> None:
    """Let this process give way to pages and to more urgent workers of this machine, whoever started them.

    A process that is nicer already stays so.
    """
    niceness = min(settings.QUEUE_NICENESS.get(queue, 0) for queue in queues)
    with contextlib.suppress(OSError):  # not Linux, or a thread has just ended
        for thread in map(int, os.listdir("/proc/self/task")):
            if os.getpriority(os.PRIO_PROCESS, thread) < niceness:
                os.setpriority(os.PRIO_PROCESS, thread, niceness)
    if niceness and os.getsid(0) == os.getpid():  # the session holds nothing else, such as a shell
        be_nice_to_other_sessions(niceness)


def _count_oom_kills() -> int:
    """How many processes the kernel has ended for lack of memory since it started; 0 if unknown."""
    try:
        counters = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        return int(counters.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0
