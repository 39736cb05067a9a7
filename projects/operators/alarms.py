"""What an operator should look at now, worst first. docs/operating/operators-page.md says what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from exeml_site.health.readiness import SILENT
from exeml_site.lib.display import date_time_text, whole_percent
from projects.backup.status import last_backup
from projects.models import Machine
from projects.operators.machines import differences
from projects.operators.queues import QueueFacts

LONG_WAIT = timedelta(minutes=15)
WAITS_FOR_A_WORKER = {
    settings.QUEUE_SHORT: "deployments, exports and periodic work wait",
    settings.QUEUE_LABELING: "suggestions and checks of labels wait",
    settings.QUEUE_IMPORTS: "imports and batches wait",
    settings.QUEUE_GPU: "trainings of its flavors wait",
    settings.QUEUE_CPU: "trainings of its flavors wait",
}


@dataclass(frozen=True, slots=True)
class Alarm:
    sentence: str
    section: str  # of the page, where more stands


def queue_alarms(facts: QueueFacts) -> Iterator[Alarm]:
    if not facts.is_answering:
        yield Alarm(
            "Redis does not answer. New work is kept in the database and starts when it does.", "queues"
        )
        return
    for queue in facts.queues:
        if not queue.workers:
            waits = WAITS_FOR_A_WORKER.get(queue.name, "its jobs wait")
            yield Alarm(f"No worker serves the queue “{queue.name}”: {waits}.", "queues")
    if not facts.schedulers:
        yield Alarm("No process starts periodic jobs (part “cron”): nothing is swept or resumed.", "machines")
    for queue in facts.queues:
        waited = timezone.now() - queue.oldest_at if queue.oldest_at else timedelta()
        if waited > LONG_WAIT:
            minutes = int(waited.total_seconds() // 60)
            yield Alarm(f"A job has waited in the queue “{queue.name}” for {minutes} minutes.", "queues")
    if failed := sum(queue.failed for queue in facts.queues):
        jobs = "1 job has" if failed == 1 else f"{failed} jobs have"
        yield Alarm(f"{jobs} failed.", "failed-jobs")


def backup_alarms() -> Iterator[Alarm]:
    backups = last_backup()
    if backups.failure is not None:
        yield Alarm(f"The last backup failed: {backups.failure.problem}", "storage")
    elif backups.is_late:
        yield Alarm("No backup was made in the last 26 hours.", "storage")


def machine_alarms(machines: Sequence[Machine], storage: str) -> Iterator[Alarm]:
    if storage == SILENT:
        yield Alarm("The storage of the files does not answer.", "storage")
    living = [machine for machine in machines if machine.is_living]
    for machine in machines:
        if not machine.is_living:
            seen = date_time_text(machine.seen_at)
            yield Alarm(f"{machine} has not reported since {seen}.", "machines")
        elif machine.is_low:
            free = whole_percent(machine.free_share)
            yield Alarm(f"The disk of {machine} has {free} left.", "machines")
    for sentence in differences(living):
        yield Alarm(sentence, "machines")
