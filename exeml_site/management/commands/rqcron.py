"""django-rq's rqcron, which waits while Redis does not respond."""

from __future__ import annotations

import contextlib
from typing import Any

from django_rq.cron import DjangoCronScheduler
from django_rq.management.commands import rqcron
from redis.exceptions import RedisError

from exeml_site.lib.outages.queue import stop_waiting, wait_for_queue


class PatientScheduler(DjangoCronScheduler):
    def register_birth(self) -> None:
        wait_for_queue(self.connection)
        super().register_birth()

    def register_death(self, pipeline: Any = None) -> None:
        stop_waiting()
        with contextlib.suppress(RedisError, OSError):
            super().register_death(pipeline)


class Command(rqcron.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        scheduler = PatientScheduler(logging_level=options["logging_level"])
        scheduler.load_config_from_file(options["config_path"])
        scheduler.start()  # type: ignore[no-untyped-call]
