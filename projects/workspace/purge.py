"""Deletes a project for good, with everything of it, once it was deleted for EXEML_BIN_DAYS.

Files go before their rows, in chunks: a purge that is interrupted is continued the next day.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from exeml_site.lib import jobs, storage
from projects import audit
from projects.apps import purge_steps
from projects.models import LabelEvent, Project

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 200
TIMEOUT_S = 12 * 60 * 60
FOLDERS = ("images", "thumbnails", "renditions", "datasets")  # of each project, by its primary key


class NotDeleted(Exception):
    """Somebody has restored the project."""


def purge_deleted_projects() -> int:
    """Enqueue the purge of projects that were deleted before EXEML_BIN_DAYS; how many. Runs once a day."""
    since = timezone.now() - timedelta(days=settings.EXEML_BIN_DAYS)
    expired = list(Project.objects.filter(deleted_at__lt=since).values_list("pk", flat=True))
    for project_id in expired:
        jobs.enqueue("purge_project", project_id, queue=settings.QUEUE_IMPORTS, timeout_s=TIMEOUT_S)
    return len(expired)


def purge(project_id: int) -> bool:
    """Delete a deleted project with all its rows and files. False if it is restored or no longer there."""
    project = Project.objects.filter(pk=project_id).first()
    try:
        if project is None:
            return False
        _check_deleted(project)
        for step in purge_steps:  # trainings and services, which refer to datasets and images
            step(project)
        for transfer_id in project.transfers.values_list("pk", flat=True):
            storage.delete_folder(f"transfers/{transfer_id}")
        for folder in FOLDERS:
            _check_deleted(project)
            storage.delete_folder(f"{folder}/{project.pk}")
        LabelEvent.objects.filter(project=project).update(undoes=None)
        for rows in (project.images.all(), project.label_events.all(), project.transfers.all()):
            delete_rows(rows, project)
        with transaction.atomic():
            audit.record(audit.Kind.PROJECT_PURGED, project=project)
            project.delete()
    except NotDeleted:
        logger.warning("project %d was restored and is not purged", project_id)
        return False
    logger.info("project %d (%s) was purged", project_id, project.name)
    return True


def delete_rows(rows: QuerySet[Any], project: Project) -> None:
    """Delete rows of the project with all that refers to them, in short transactions. Raises NotDeleted."""
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[:ROWS_AT_ONCE]):
        _check_deleted(project)
        rows.model._default_manager.filter(pk__in=ids).delete()


def gone_project_files(names: Sequence[str]) -> set[str]:
    """Those of the stored files `<folder>/<project>/…` whose project is purged."""
    ids = {int(part) for name in names if (part := name.split("/")[1]).isdecimal()}
    known = {str(pk) for pk in Project.objects.filter(pk__in=ids).values_list("pk", flat=True)}
    return {name for name in names if name.split("/")[1] not in known}


def _check_deleted(project: Project) -> None:
    if Project.objects.alive().filter(pk=project.pk).exists():
        raise NotDeleted
