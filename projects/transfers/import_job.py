"""The import job. It works through a plan in chunks; each chunk is one transaction that moves the cursor.

A job killed at any moment resumes at the cursor without duplicates: the same content is the same image.
After SLICE_S the import waits in the queue again, so imports of other projects need not wait for its end.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from exeml_site.lib import jobs
from exeml_site.lib.job_row import Cancelled, ClaimLost, failure
from projects.formats.manifest import EntryLabel
from projects.images import upload
from projects.images.decode import ImageRefused
from projects.labels import bulk_import
from projects.models import DataSource, Image, RejectedFile, Transfer
from projects.transfers import data_source, imports, upload_parts
from projects.transfers.file_sources import EmptySource, FileSource, SourceUnreadable, ZipSource
from projects.transfers.import_plan import (
    CannotPlan,
    ImportItem,
    ImportPlan,
    LabelsFrom,
    make_plan,
    read_label_file,
)
from projects.transfers.path_mapping import PathMapping

logger = logging.getLogger(__name__)

CHUNK, FIRST_CHUNK, SLICE_S = 400, 50, 600.0
MAX_LABEL_FILE_BYTES = 64 * 1024
NOT_STORED = (
    "The server could not store the files ({reason}). Ask an operator whether the disk is full, then import "
    "the same files again: no image is added twice."
)
UNEXPECTED_ERROR = "Something unexpected happened. What was imported stays; operators can see the reason."
CONFLICTING_DUPLICATE = "The same image came twice with different labels: the first label was kept."
LABELS_KEPT = "The image was in the project already; its labels were kept."
Status = Transfer.Status


@dataclass(frozen=True)
class _ReadItem:
    """One item of the plan as read from its file: a stored image, an image of the project, or a `reason`."""

    item: ImportItem
    picture: upload.StoredImage | None = None
    entry_labels: tuple[EntryLabel, ...] = ()
    reason: str = ""

    def image_id(self, images: dict[str, int]) -> int | None:
        """The key of its image, new or present; `images` maps sha256 to key."""
        return images.get(self.picture.sha256) if self.picture else self.item.image_id


def run(transfer_id: int) -> None:
    """Run an import from its cursor. An import that ended or has a worker is left alone."""
    if not Transfer.objects.silent().filter(pk=transfer_id).claim():
        return
    transfer = Transfer.objects.select_related("project__team", "by").get(pk=transfer_id)
    try:
        with _open_source(transfer) as source:
            is_done = _Import(transfer, source).run()
        if is_done:
            _end(transfer, Status.COMPLETED)
        else:
            transfer.release()
    except ClaimLost:
        logger.warning("import %d is done by another worker", transfer_id)
    except Cancelled:
        _end(transfer, Status.CANCELLED)
    except Exception as problem:
        sentence = UNEXPECTED_ERROR
        if isinstance(problem, OSError):
            sentence = NOT_STORED.format(reason=problem.strerror or problem)
        _end(transfer, Status.FAILED, **failure(problem, sentence, CannotPlan, SourceUnreadable))


def _end(transfer: Transfer, status: Transfer.Status, **fields: str) -> None:
    """End the import and delete the uploaded files; the report stays."""
    if transfer.held().end(status, **fields):
        upload_parts.delete_parts(transfer)
    if transfer.kind == Transfer.Kind.SOURCE and status == Status.COMPLETED:
        DataSource.objects.filter(project=transfer.project_id).update(synchronized_at=timezone.now())
    jobs.after("images_added", transfer.project_id)


@contextmanager
def _open_source(transfer: Transfer) -> Iterator[FileSource]:
    if transfer.kind == Transfer.Kind.SOURCE:
        yield data_source.open_source(transfer.options["address"])
        return
    names = [file["name"] for file in transfer.options["files"]]
    archives = [
        number for number, name in enumerate(names) if name.lower().endswith(imports.ARCHIVE_SUFFIXES)
    ]
    if not archives:
        source = DataSource.objects.filter(project=transfer.project_id).first()
        yield data_source.open_source(source.address) if source else EmptySource()
        return
    with upload_parts.open_file(transfer, archives[0]) as file:
        yield ZipSource(file)


def _read_description(transfer: Transfer) -> tuple[str, bytes] | None:
    for index, file in enumerate(transfer.options["files"]):
        if not file["name"].lower().endswith(imports.ARCHIVE_SUFFIXES):
            with upload_parts.open_file(transfer, index) as content:
                return file["name"], content.read()
    return None


class _Import:
    """One run over the plan of an import, from its cursor on."""

    def __init__(self, transfer: Transfer, source: FileSource) -> None:
        self.transfer, self.project, self.source = transfer, transfer.project, source
        self.options: dict[str, Any] = transfer.options
        self.counts = Counter(transfer.report.get("counts", {}))

    def run(self) -> bool:
        """Work through the plan. False if SLICE_S passed before its end. Raises what ends an import."""
        end = time.monotonic() + SLICE_S
        items = self._plan().items
        threads = settings.EXEML_ENGINE_THREADS or os.cpu_count() or 1
        with ThreadPoolExecutor(threads) as pool:
            size = FIRST_CHUNK  # small, so that progress and the first images show soon
            while self.transfer.cursor < len(items):
                if time.monotonic() > end:
                    return False
                start = self.transfer.cursor
                self._import_chunk(pool, items[start : start + min(size, CHUNK)])
                jobs.after("images_added", self.project.pk)
                size *= 2
        return True

    # --- the plan ---

    def _plan(self) -> ImportPlan:
        if self.transfer.kind == Transfer.Kind.SOURCE:
            return self._plan_of_source()
        plan = make_plan(
            self.project,
            self.source,
            labels_from=LabelsFrom(self.options.get("labels_from", LabelsFrom.AUTOMATIC)),
            description=_read_description(self.transfer),
            mapping=PathMapping(self.options.get("prefix", ""), self.options.get("folder", "")),
        )
        if self.transfer.cursor == 0:
            bulk_import.import_label_looks(
                self.project, [(look.name, look.colour, look.key) for look in plan.looks]
            )
        self._set_total(len(plan.items), plan.labels_from)
        return plan

    def _plan_of_source(self) -> ImportPlan:
        """The plan of a data source. A file whose address and size an image has is not read again.

        Folders are labels only if the Manager chose so; text files beside the images always are.
        """
        kind = LabelsFrom.FOLDERS if self.options["has_folder_labels"] else LabelsFrom.TEXTS
        sizes = {file.path: file.size for file in self.source.files()}
        base = data_source.file_address(self.options["address"], "")
        rows = Image.objects.filter(project=self.project, source__startswith=base)
        images = {
            source: (pk, size, deleted_at)
            for pk, source, size, deleted_at in rows.values_list("pk", "source", "size_bytes", "deleted_at")
        }
        addresses = {data_source.file_address(self.options["address"], path) for path in sizes}
        vanished = [
            pk
            for source, (pk, _, deleted_at) in images.items()
            if deleted_at is None and source not in addresses
        ]
        self._add_to_report(vanished=sorted(vanished))
        if not sizes:
            self._set_total(0, kind)
            return ImportPlan([], kind)
        plan = make_plan(self.project, self.source, labels_from=kind)
        items = [self._as_present(item, images, sizes) for item in plan.items]
        self._set_total(len(items), plan.labels_from)
        return replace(plan, items=items)

    def _as_present(self, item: ImportItem, images: dict[str, Any], sizes: dict[str, int]) -> ImportItem:
        """The item as one that names its image, if that image came from the same file."""
        row = images.get(data_source.file_address(self.options["address"], item.path))
        if row is None or row[1] != sizes.get(item.path):
            return item
        return replace(item, path="", image_id=row[0], entry_labels=(), text_path="")

    def _set_total(self, total: int, labels_from: LabelsFrom) -> None:
        self._add_to_report(labels_from=labels_from.value)
        Transfer.objects.filter(pk=self.transfer.pk).update(total=total)

    def _add_to_report(self, **more: Any) -> None:
        self.transfer.report |= more
        Transfer.objects.filter(pk=self.transfer.pk).update(report=self.transfer.report)

    # --- a chunk ---

    def _import_chunk(self, pool: ThreadPoolExecutor, items: Sequence[ImportItem]) -> None:
        self.transfer.beat()
        read_items = []
        for read_item in pool.map(self._read, items):
            read_items.append(read_item)
            self.transfer.beat()
        with transaction.atomic():
            self._write(read_items)
            unchanged = self.transfer.held().filter(cursor=self.transfer.cursor)
            self.transfer.cursor += len(items)
            self.transfer.report["counts"] = dict(self.counts)
            fields = {"cursor": self.transfer.cursor, "report": self.transfer.report}
            if not unchanged.update(heartbeat_at=timezone.now(), **fields):
                raise ClaimLost

    def _read(self, item: ImportItem) -> _ReadItem:
        """Read, decode and store one file, in a thread without the database."""
        if item.problem or item.image_id is not None:
            return _ReadItem(item, entry_labels=item.entry_labels, reason=item.problem)
        try:
            content = self.source.read(item.path, settings.EXEML_MAX_IMAGE_MB * 1024 * 1024)
            if not content:
                raise ImageRefused("The file is empty.")
            entry_labels = item.entry_labels
            if item.text_path:
                entry_labels = read_label_file(self.source.read(item.text_path, MAX_LABEL_FILE_BYTES))
            base = self.options.get("address") or self.transfer.file_name
            picture = upload.store_image(
                self.project, item.name, content, data_source.file_address(base, item.path)
            )
        except ImageRefused as refusal:
            return _ReadItem(item, reason=str(refusal))
        return _ReadItem(item, picture, entry_labels)

    # --- the transaction of a chunk ---

    def _write(self, read_items: Sequence[_ReadItem]) -> None:
        images = self._insert_images([read.picture for read in read_items if read.picture is not None])
        refused = [(read.item, read.reason) for read in read_items if read.reason]
        labeled, unlabeled = self._choose_labels(read_items, images)
        kept = self._import_labels({pk: read.entry_labels for pk, read in labeled.items()})
        unlabeled += [(labeled[pk].item, LABELS_KEPT) for pk in kept]
        self._set_splits(read_items, images)
        self.counts["refused"] += len(refused)
        self.counts["present"] += sum(read.item.image_id is not None for read in read_items)
        RejectedFile.objects.bulk_create(
            RejectedFile(transfer=self.transfer, name=(item.path or item.name)[:1024], reason=reason[:500])
            for item, reason in refused + unlabeled
        )

    def _choose_labels(
        self, read_items: Sequence[_ReadItem], images: dict[str, int]
    ) -> tuple[dict[int, _ReadItem], list[tuple[ImportItem, str]]]:
        """The item whose labels each image gets, by the image's key, and the rejected items with reasons."""
        chosen: dict[int, _ReadItem] = {}
        rejected = []
        for read in read_items:
            pk, labels = read.image_id(images), read.entry_labels
            if pk is None or read.reason or not labels:
                continue
            if reason := bulk_import.labels_problem(self.project, labels):
                rejected.append((read.item, f"Its label was rejected. {reason}"))
            elif pk not in chosen:
                chosen[pk] = read
            elif self.project.is_multi_label:
                chosen[pk] = replace(chosen[pk], entry_labels=(*chosen[pk].entry_labels, *labels))
            elif {label.name for label in labels} != {label.name for label in chosen[pk].entry_labels}:
                rejected.append((read.item, CONFLICTING_DUPLICATE))
        return chosen, rejected

    def _insert_images(self, pictures: Sequence[upload.StoredImage]) -> dict[str, int]:
        """Insert the images that are new. The key of each image by its sha256."""
        rows = upload.insert_images(self.project, pictures, self.transfer.by, transfer=self.transfer)
        self.counts["added"] += len(rows.added)
        self.counts["restored"] += len(rows.restored)
        self.counts["duplicate"] += len(pictures) - len(rows.added) - len(rows.restored)
        return {sha256: image.pk for sha256, image in (rows.added | rows.existing).items()}

    def _import_labels(self, labels: dict[int, tuple[EntryLabel, ...]]) -> list[int]:
        """Label images, by key. The keys of those that keep other labels, which they had before."""
        result = bulk_import.import_labels(
            self.project,
            labels,
            self.transfer.by,
            replaces=self.options.get("existing") == "replace",
            details={"transfer": self.transfer.pk},
        )
        self.counts["labeled"] += result.labeled
        return result.kept

    def _set_splits(self, read_items: Sequence[_ReadItem], images: dict[str, int]) -> None:
        """Set the split of a manifest on images that have none, and mark its hard examples."""
        splits: dict[str, list[int]] = {}
        hard: list[int] = []
        for read in read_items:
            pk = read.image_id(images)
            if pk is not None and not read.reason:
                splits.setdefault(read.item.split, []).append(pk)
                hard += [pk] if read.item.is_hard else []
        for split, ids in splits.items():
            if split:
                Image.objects.filter(pk__in=ids, split="").update(split=split)
        if hard:
            Image.objects.filter(pk__in=hard).update(is_hard=True)
