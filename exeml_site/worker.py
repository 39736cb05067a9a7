"""RQ worker for trainings.

Torch and OpenMP do not survive a fork, so every job of this worker runs in a fresh interpreter. That
interpreter unpickles this class first, so this module sets up Django when it is imported.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import TYPE_CHECKING

import django
from django.apps import apps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exeml_site.settings")
if not apps.ready:
    django.setup()

from rq.worker import SpawnWorker

from exeml_site.lib.parent_death import die_with_parent

if TYPE_CHECKING:
    from rq.job import Job
    from rq.queue import Queue

log = logging.getLogger(__name__)


class SpawningWorker(SpawnWorker):
    """RQ's SpawnWorker with Django set up in the child process, which ends with its worker.

    A training lasts hours, so a worker that gets SIGTERM does not wait for it: it ends the job's process, the
    version stays Running, and `training.versions.recovery.sweep` enqueues it again.
    """

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
        super().main_work_horse(job, queue)
