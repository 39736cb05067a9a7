"""Notices to those whose trainings have ended."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from projects.models import MailNotice, NoticeKind
from projects.notices import notices
from training.models import TrainingVersion

LATELY = timedelta(hours=12)


def collect() -> None:
    """Tell whoever started a training that it has ended, for each attempt once."""
    since = timezone.now() - LATELY
    ended = TrainingVersion.objects.alive().filter(finished_at__gt=since, project__deleted_at=None)
    by_source = {source_of(version): version for version in ended.select_related("project", "submitted_by")}
    told = MailNotice.objects.filter(source__in=list(by_source)).values_list("source", flat=True)
    for source in set(by_source) - set(told):
        version = by_source[source]
        # Whoever stopped it knows.
        if version.submitted_by is None or version.stop_requested_by_id == version.submitted_by_id:
            continue
        notices.add(
            NoticeKind.TRAINING,
            [version.submitted_by],
            version.project,
            source,
            version=version.name,
            number=version.number,
            status=version.status,
            detail=_detail(version),
        )


def source_of(version: TrainingVersion) -> str:
    return f"training {version.pk} attempt {version.attempt}"


def _detail(version: TrainingVersion) -> str:
    """The cause of a failure; of a model nothing: figures without their intervals mislead."""
    return " ".join(filter(None, [version.failure_cause, version.failure_remedy]))
