"""What happens by the clock: `manage.py rqcron exeml_site.cron` puts these jobs on the short queue.

Names rather than imports, so that a test can say which one is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.utils.module_loading import import_string
from rq.cron import register

DAY_S = 24 * 60 * 60


@dataclass(frozen=True)
class Chore:
    """A function without arguments that is safe to run twice."""

    name: str
    every_s: int


CHORES = (
    Chore("training.versions.recovery.sweep", 15),
    Chore("training.serving.deploy.stop_expired", 30),
    Chore("training.serving.rollout.catch_up", 30),
    Chore("training.serving.batches.job.catch_up", 15),
    Chore("training.serving.calls.feedback.forget_old", DAY_S),
    Chore("training.serving.calls.counters.forget_old", DAY_S),
    Chore("training.assist.embed_images.catch_up", 60),
    Chore("projects.transfers.imports.catch_up", 15),
    Chore("projects.images.bin.empty_bins", DAY_S),  # by interval, since a desk's computer sleeps at night
)

for chore in CHORES:
    register(
        import_string(chore.name),
        settings.QUEUE_SHORT,
        interval=chore.every_s,
        ttl=chore.every_s,  # one that waited this long has been followed by the next
        result_ttl=60,
        failure_ttl=DAY_S,
        job_timeout=max(chore.every_s, 60),
    )
