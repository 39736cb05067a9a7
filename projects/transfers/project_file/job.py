"""The import of a project file as a job: progress, heartbeat, and what its page shows."""

from __future__ import annotations

from django.db import transaction

from projects import audit
from projects.backup.archive import BadArchive
from projects.models import Image, RejectedFile, Transfer
from projects.transfers import upload_parts
from projects.transfers.project_file.read import NOT_EMPTY, ProjectImport, is_empty

BEGAN = "began"  # in the report: rows in the project are this import's, which a killed worker left


def import_project(transfer: Transfer) -> None:
    """Import the uploaded project file. Raises BadArchive, Cancelled, OSError; then it is empty."""
    if not transfer.report.get(BEGAN) and not is_empty(transfer.project):
        raise BadArchive(NOT_EMPTY)
    _report(transfer, {BEGAN: True})
    with upload_parts.open_file(transfer, 0) as file:
        done = ProjectImport(
            transfer.project, file, lambda cursor, total: transfer.beat(cursor=cursor, total=total)
        )
        done.run()
    RejectedFile.objects.bulk_create(
        RejectedFile(transfer=transfer, name=name, reason=reason[:500]) for name, reason in done.refused
    )
    images = Image.objects.filter(project=transfer.project)
    counts = {
        "added": images.count(),
        "labeled": images.filter(is_labeled=True).count(),
        "refused": len(done.refused),
    }
    rows = sum(done.counts["rows"].values())
    with transaction.atomic():
        _report(transfer, {"counts": counts}, total=rows, cursor=rows)
        audit.record(
            audit.Kind.PROJECT_IMPORTED,
            project=transfer.project,
            target=transfer.file_name,
            by=transfer.by,
            images=counts["added"],
        )


def _report(transfer: Transfer, more: dict[str, object], **fields: int) -> None:
    transfer.report |= more
    Transfer.objects.filter(pk=transfer.pk).update(report=transfer.report, **fields)
