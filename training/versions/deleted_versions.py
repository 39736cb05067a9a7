"""Deleted training versions. Their files are gone, so they cannot be restored; their rows can be removed."""

from __future__ import annotations

from django.db import transaction
from django.db.models import ProtectedError

from projects import audit
from training.models import TrainingVersion
from training.versions.lifecycle import TrainingRefused

NAMED_STILL = "Services and batches still name it: {}. Purge them first."  # not translated: for operators


def purge(version: TrainingVersion) -> bool:
    """Delete the rows of a deleted version: evaluation, candidates, curves. False if it is not deleted.

    The number of the version is not given again while a later one exists. Raises TrainingRefused while
    deleted services or their batches still name it.
    """
    with transaction.atomic():
        deleted = TrainingVersion.objects.filter(pk=version.pk, deleted_at__isnull=False)
        try:
            number, _ = deleted.delete()
        except ProtectedError as problem:
            names = ", ".join(sorted({str(row) for row in problem.protected_objects}))
            raise TrainingRefused(NAMED_STILL.format(names)) from problem
        if number:
            audit.record(audit.Kind.TRAINING_PURGED, project=version.project, target=version)
    return bool(number)
