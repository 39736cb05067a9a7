"""Imports: create, start, cancel and undo them, and enqueue those whose job is lost."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from exeml_site.lib.display import count
from exeml_site.lib.errors import Refused
from exeml_site.lib.text import without_hidden
from projects import audit
from projects.labels import actions
from projects.models import DataSource, Image, LabelEvent, Project, Role, Transfer
from projects.transfers import upload_parts
from projects.usage import quotas

Status = Transfer.Status
UPLOAD_DAYS = 2  # an interrupted upload, or an import that waits for a person, can be continued for so long
MAX_LABEL_FILES = 20
PROJECT_SUFFIX = ".exeml.tar"
ARCHIVE_SUFFIXES, MANIFEST_SUFFIXES, TABLE_SUFFIXES = (
    (".zip",),
    (".manifest", ".jsonl", ".ndjson", ".json", ".xml"),
    (".csv", ".tsv"),
)


class ImportRefused(Refused):
    """The import cannot start or continue; the text is a sentence for the person."""


def kind_of(names: Sequence[str]) -> Transfer.Kind:
    """The kind of an import of these files: archive, manifest or table, or both. Raises ImportRefused."""
    lower = [name.lower() for name in names]
    if len(lower) == 1 and lower[0].endswith(PROJECT_SUFFIX):
        return Transfer.Kind.PROJECT
    archives = [name for name in lower if name.endswith(ARCHIVE_SUFFIXES)]
    manifests = [name for name in lower if name.endswith(MANIFEST_SUFFIXES)]
    tables = [name for name in lower if name.endswith(TABLE_SUFFIXES)]
    if not lower or len(archives) + len(manifests) + len(tables) < len(lower):
        raise ImportRefused(
            gettext(
                "Choose a zip archive, a label file (.manifest, .jsonl, .json, .xml) or a table (.csv, .tsv)."
            )
        )
    if len(archives) > 1 or len(manifests) + len(tables) > MAX_LABEL_FILES:
        sentence = gettext("Choose one archive and at most %(limit)s label files at a time.")
        raise ImportRefused(sentence % {"limit": count(MAX_LABEL_FILES)})
    if manifests:
        return Transfer.Kind.MANIFEST
    return Transfer.Kind.CSV if tables else Transfer.Kind.ZIP


def create_import(
    project: Project, files: Sequence[dict[str, Any]], options: dict[str, Any], by: User | None
) -> Transfer:
    """Create an import whose files (`name`, `size` in bytes, `modified`) will now be uploaded.

    The same person's interrupted upload of the same files is continued. Raises ImportRefused.
    """
    kind = kind_of([file["name"] for file in files])
    size = sum(file["size"] for file in files)
    if not all(file["size"] > 0 for file in files):
        raise ImportRefused(gettext("The file is empty."))
    _check_size(size)
    try:
        quotas.check_storage(project.team, size)
    except quotas.QuotaReached as reached:
        raise ImportRefused(str(reached)) from reached
    options = {**options, "files": list(files)}
    interrupted = Transfer.objects.filter(project=project, by=by, status=Status.UPLOADING)
    for transfer in interrupted.order_by("-pk"):
        if transfer.options["files"] == options["files"]:
            transfer.options = options
            transfer.save(update_fields=["options"])
            return transfer
    transfer = Transfer.objects.create(
        project=project,
        kind=kind,
        status=Status.UPLOADING,
        by=by,
        file_name=without_hidden(" + ".join(file["name"] for file in files))[:255],
        options=options,
    )
    upload_parts.delete_parts(transfer)  # a restored database gives the same key again
    return transfer


def check_role(names: Sequence[str], role: int) -> None:
    """Raise ImportRefused for a file that a person of this role cannot import."""
    if role < Role.MANAGER and any(name.lower().endswith(PROJECT_SUFFIX) for name in names):
        raise ImportRefused(gettext("Only Managers can import a project file."))


def start_with(transfer: Transfer, uploads: Sequence[UploadedFile[bytes]]) -> None:
    """Store the files that came with the request that created the import, and enqueue it."""
    for number, upload in enumerate(uploads):
        for part, content in enumerate(upload.chunks(upload_parts.PART_BYTES)):
            upload_parts.save_part(transfer, number, part, content)
    start_import(transfer)


def _check_size(size: int) -> None:
    if size > settings.EXEML_MAX_IMPORT_GB * 1024**3:
        sentence = gettext("At most %(limit)s GB can be imported at once. Split the archive.")
        raise ImportRefused(sentence % {"limit": count(settings.EXEML_MAX_IMPORT_GB)})
    if not settings.STORAGE_URL and size > _free_bytes():
        raise ImportRefused(
            gettext("The server does not have enough disk space for this file. Ask an operator.")
        )


def _free_bytes() -> int:
    folder = Path(settings.DATA_DIR)
    return shutil.disk_usage(folder if folder.is_dir() else folder.parent).free


def start_import(transfer: Transfer) -> None:
    """Enqueue an import whose parts have all arrived. Raises ImportRefused if one is missing."""
    if any(upload_parts.missing_parts(transfer)):
        raise ImportRefused(
            gettext("Parts of the file have not arrived. Upload it again; it continues where it stopped.")
        )
    uploading = Transfer.objects.filter(pk=transfer.pk, status=Status.UPLOADING)
    with transaction.atomic():
        if uploading.update(status=Status.WAITING, created_at=timezone.now()):
            _record(audit.Kind.IMPORT_STARTED, transfer)
            transfer.enqueue()


def continue_import(transfer: Transfer, options: dict[str, Any], *, is_reviewed: bool) -> bool:
    """Enqueue an import that waited for a person, to import or show again. False if it did not wait."""
    waiting = Transfer.objects.filter(pk=transfer.pk, status=Status.REVIEW)
    options = {**options, "is_reviewed": is_reviewed, "is_shown": True}
    if not waiting.update(status=Status.WAITING, options=options, created_at=timezone.now()):
        return False
    transfer.enqueue()
    return True


@transaction.atomic
def synchronize(source: DataSource, by: User | None) -> Transfer:
    """Import what is new in the data source and list what vanished; the active import if there is one."""
    running = Transfer.objects.filter(
        project=source.project_id, kind=Transfer.Kind.SOURCE, status__in=Transfer.ACTIVE
    ).first()
    if running:
        return running
    transfer = Transfer.objects.create(
        project=source.project,
        kind=Transfer.Kind.SOURCE,
        by=by,
        file_name=source.address[:255],
        options={"files": [], "address": source.address, "has_folder_labels": source.has_folder_labels},
    )
    _record(audit.Kind.IMPORT_STARTED, transfer)
    transfer.enqueue()
    return transfer


def cancel_import(transfer: Transfer) -> bool:
    """Cancel an import; what it added stays. False if it had ended."""
    with transaction.atomic():
        if is_changed := transfer.cancel(is_cancel_wanted=True):
            _record(audit.Kind.IMPORT_CANCELLED, transfer)
    if Transfer.objects.filter(pk=transfer.pk, status=Status.CANCELLED).exists():
        upload_parts.delete_parts(transfer)
    return is_changed


def undo_import(transfer: Transfer, by: User | None) -> int:
    """Undo the labels that an ended import gave, and move the images that it added to the bin; how many.

    Each event is a transaction of its own; after an interruption, the rest is undone by another call. Raises
    ImportRefused while the import runs.
    """
    if transfer.is_active:
        raise ImportRefused(gettext("The import is still running. Cancel it first."))
    given = LabelEvent.objects.filter(
        project=transfer.project_id,
        kind=LabelEvent.Kind.IMPORT,
        details__transfer=transfer.pk,
        undone_by=None,
    )
    added = set(Image.objects.alive().filter(transfer=transfer).values_list("pk", flat=True))
    for event in given.order_by("-pk"):
        if not {change["image"] for change in event.changes} <= added:
            actions.undo(event, by)  # labels of images that stay
    actions.delete_images(transfer.project, added, by)
    _record(audit.Kind.IMPORT_UNDONE, transfer, images=len(added))
    return len(added)


def _record(kind: audit.Kind, transfer: Transfer, **details: Any) -> None:
    audit.record(kind, project=transfer.project, target=transfer.file_name, **details)


def catch_up() -> None:
    """Enqueue imports whose job is lost and cancel those that were given up before; run every 15 seconds."""
    for transfer in Transfer.objects.lost():
        transfer.enqueue()
    old = timezone.now() - timedelta(days=UPLOAD_DAYS)
    given_up = Transfer.objects.filter(status__in=[Status.UPLOADING, Status.REVIEW], created_at__lt=old)
    for transfer in given_up:
        cancel_import(transfer)
