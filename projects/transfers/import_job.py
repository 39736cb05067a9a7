"""The import job. It works through a plan in chunks; each chunk is one transaction that moves the cursor.

A job killed at any moment resumes at the cursor without duplicates: the same content is the same image.
After SLICE_S the import waits in the queue again, so imports of other projects need not wait for its end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from exeml_site.lib import jobs
from exeml_site.lib.job_row import Cancelled, ClaimLost, failure
from projects.backup.archive import BadArchive
from projects.formats.manifest import EntryLabel
from projects.images import upload
from projects.images.decode import ImageRefused
from projects.labels import bulk_import
from projects.models import DataSource, Split, Transfer
from projects.transfers import data_source, imports, preview, upload_parts
from projects.transfers.described_images import ImportItem
from projects.transfers.descriptions import CannotPlan, Description
from projects.transfers.file_sources import EmptySource, FileSource, SourceUnreadable, ZipSource
from projects.transfers.import_chunk import ChunkWriter, ReadItem, batches
from projects.transfers.import_plan import MAX_TEXT_BYTES, ImportPlan, LabelsFrom, make_plan, read_label_text
from projects.transfers.path_mapping import PathMapping
from projects.transfers.project_file.job import import_project
from projects.transfers.source_files import SourceFiles
from projects.usage.quotas import QuotaReached

logger = logging.getLogger(__name__)

CHUNK, FIRST_CHUNK, SLICE_S = 400, 50, 600.0
READ_THREADS = 8  # most of them wait for the disk; `images.decode` admits two pictures at once
# Transactions take about WRITE_S, so that others wait briefly; a batch's weight is about its rows.
WRITE_S, FIRST_WEIGHT, MIN_WEIGHT, MAX_WEIGHT = 0.08, 100, 10, 2000
NOT_STORED = (
    "The server could not store the files ({reason}). "  # not translated: stored with values
    "Ask an operator whether the disk is full, then import the same files again: no image is added twice."
)
UNEXPECTED_ERROR = gettext_noop(
    "Something unexpected happened. What was imported stays; operators can see the reason."
)
Status = Transfer.Status


def run(transfer_id: int) -> None:
    """Run an import from its cursor. An import that ended or has a worker is left alone."""
    if not Transfer.objects.silent().filter(pk=transfer_id).claim():
        return
    transfer = Transfer.objects.select_related("project__team", "by").get(pk=transfer_id)
    try:
        if transfer.kind == Transfer.Kind.PROJECT:
            import_project(transfer)
            is_done = True
        else:
            with _open_source(transfer) as source:
                is_done = _Import(transfer, source).run()
        if is_done:
            _end(transfer, Status.COMPLETED)
    except ClaimLost:
        logger.warning("import %d is done by another worker", transfer_id)
    except Cancelled:
        _end(transfer, Status.CANCELLED)
    except Exception as problem:
        # A data source that does not answer is the person's to mend.
        if not isinstance(problem, SourceUnreadable) and transfer.outlives(problem):
            return
        sentence = UNEXPECTED_ERROR
        if isinstance(problem, OSError):
            sentence = NOT_STORED.format(reason=problem.strerror or problem)
        expected = (CannotPlan, SourceUnreadable, QuotaReached, BadArchive)
        _end(transfer, Status.FAILED, **failure(problem, sentence, *expected))


def _end(transfer: Transfer, status: Transfer.Status, **fields: str) -> None:
    """End the import and delete the uploaded files; the report stays."""
    if imports.end_import(transfer, status, **fields):
        upload_parts.delete_parts(transfer)
        bulk_import.delete_unused_labels(transfer.project, transfer.report.get("created_labels", []))
    if transfer.kind == Transfer.Kind.SOURCE and status == Status.COMPLETED:
        DataSource.objects.filter(project=transfer.project_id).update(synchronized_at=timezone.now())
    for event in ("images_added", "labels_changed"):
        jobs.after(event, transfer.project_id)


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
        yield ZipSource(file, transfer.options.get("names_encoding", ""))


def _beside(transfer: Transfer) -> list[Description]:
    """The label files that were uploaded beside the archive, or alone."""
    return [
        Description(file["name"], partial(upload_parts.open_file, transfer, number), is_beside=True)
        for number, file in enumerate(transfer.options["files"])
        if not file["name"].lower().endswith(imports.ARCHIVE_SUFFIXES)
    ]


class _Import:
    """One run over the plan of an import, from its cursor on."""

    def __init__(self, transfer: Transfer, source: FileSource) -> None:
        self.transfer, self.project, self.source = transfer, transfer.project, source
        self.options: dict[str, Any] = transfer.options
        self.source_files: SourceFiles | None = None
        self.write_weight = FIRST_WEIGHT

    def run(self) -> bool:
        """Work through the plan. False if it does not end here: SLICE_S passed, or a person must look at it.

        Raises what ends an import.
        """
        end = time.monotonic() + SLICE_S
        found = self._plan()
        plan = found.with_tests(self.options.get("tests", ""))
        if self._needs_review(plan, found):
            return False
        self._begin(plan)
        pool = ThreadPoolExecutor(READ_THREADS)
        try:
            is_done = self._import_items(pool, plan.items, end)
        finally:
            pool.shutdown(cancel_futures=True)
        if is_done and self.source_files is not None:
            self._add_to_report(vanished=self.source_files.vanished())
        return is_done

    def _import_items(self, pool: ThreadPoolExecutor, items: Sequence[ImportItem], end: float) -> bool:
        """Import the items in chunks; the files of one are read while the rows of that before are written."""
        chunks = [items[start:stop] for start, stop in pairwise(self._starts(len(items)))]
        ahead = self._read_chunk(pool, chunks[0]) if chunks else []
        for following in [*chunks[1:], []][: len(chunks)]:
            reads, ahead = ahead, self._read_chunk(pool, following)
            self._write_chunk(reads)
            jobs.after("images_added", self.project.pk)
            if following and time.monotonic() > end:
                self.transfer.release()
                return False
        return True

    def _starts(self, count: int) -> list[int]:
        """Where chunks begin and the last one ends; small ones first, so that the first images show soon."""
        starts, size = [self.transfer.cursor], FIRST_CHUNK
        while starts[-1] < count:
            starts.append(min(starts[-1] + min(size, CHUNK), count))
            size *= 2
        return starts

    # --- the plan ---

    def _plan(self) -> ImportPlan:
        if self.transfer.kind == Transfer.Kind.SOURCE:
            return self._plan_of_source()
        return make_plan(
            self.project,
            self.source,
            labels_from=LabelsFrom(self.options.get("labels_from", LabelsFrom.AUTOMATIC)),
            beside=_beside(self.transfer),
            mapping=PathMapping(self.options.get("prefix", ""), self.options.get("folder", "")),
            choices=self.options.get("choices", {}),
            has_unlisted=isinstance(self.source, ZipSource),
            may_guess=not self.options.get("is_reviewed", True),
            folder_columns=self.options.get("folder_columns", {}),
        )

    def _plan_of_source(self) -> ImportPlan:
        """The plan of a data source. A file whose address and size an image has is not read again.

        Folders are labels only if the Manager chose so; text files beside the images always are.
        """
        kind = LabelsFrom.FOLDERS if self.options["has_folder_labels"] else LabelsFrom.TEXTS
        files = self.source.files()
        self.source_files = SourceFiles.of(self.project, self.options["address"], files)
        if not files:
            return ImportPlan([], kind)
        plan = make_plan(self.project, self.source, labels_from=kind)
        return replace(plan, items=[self.source_files.as_present(item) for item in plan.images])

    def _needs_review(self, plan: ImportPlan, found: ImportPlan) -> bool:
        """Whether a person looks at the plan first; the import then waits for them.

        `found`: the plan without what the person chose about test images.
        """
        if not self.options.get("is_reviewed", True) and not self.transfer.cursor:
            shown = preview.preview_of(self.project, plan, self.source)
            shown["tests"] = sum(item.split == Split.TEST for item in found.images)
            if shown["tests"] and not self.options.get("tests"):
                shown["doubts"].append(preview.test_doubt(found))
            if shown["doubts"] or self.options.get("is_shown"):
                self._add_to_report(preview=shown)
                self.transfer.held().update(status=Status.REVIEW, heartbeat_at=None)
                return True
        return False

    def _begin(self, plan: ImportPlan) -> None:
        names = {label.name for item in plan.items for label in item.entry_labels}
        bulk_import.check_label_count(self.project, names | {look.name for look in plan.looks})
        if self.transfer.cursor == 0:
            looks = [(look.name, look.colour, look.key) for look in plan.looks]
            bulk_import.import_label_looks(self.project, looks)
            expected = dict.fromkeys(
                label.name for item in plan.images if not item.problem for label in item.entry_labels
            )
            self._add_to_report(created_labels=bulk_import.create_labels(self.project, expected))
        total_files = sum(item.is_file for item in plan.items)
        self._add_to_report(labels_from=plan.labels_from.value, total_files=total_files)
        Transfer.objects.filter(pk=self.transfer.pk).update(total=len(plan.items))

    def _add_to_report(self, **more: Any) -> None:
        self.transfer.report |= more
        Transfer.objects.filter(pk=self.transfer.pk).update(report=self.transfer.report)

    # --- a chunk ---

    def _read_chunk(self, pool: ThreadPoolExecutor, items: Sequence[ImportItem]) -> list[Future[ReadItem]]:
        return [pool.submit(self._read, item) for item in items]

    def _write_chunk(self, reads: Sequence[Future[ReadItem]]) -> None:
        """Wait for the files of a chunk, and write its rows in transactions of about WRITE_S each."""
        self.transfer.beat()
        read_items = []
        for read in reads:
            read_items.append(read.result())
            self.transfer.beat()
        for batch in batches(read_items, self.write_weight):
            began = time.monotonic()
            self._write_batch(batch)
            seconds = time.monotonic() - began
            fitting = int(self.write_weight * WRITE_S / max(seconds, WRITE_S / 2))
            self.write_weight = min(max(fitting, MIN_WEIGHT), MAX_WEIGHT)

    def _write_batch(self, batch: Sequence[ReadItem]) -> None:
        with transaction.atomic():
            self._write(batch)
            unchanged = self.transfer.held().filter(cursor=self.transfer.cursor)
            self.transfer.cursor += len(batch)
            fields = {"cursor": self.transfer.cursor, "report": self.transfer.report}
            if not unchanged.update(heartbeat_at=timezone.now(), **fields):
                raise ClaimLost

    def _write(self, batch: Sequence[ReadItem]) -> None:
        writer = ChunkWriter(self.transfer, self.source_files)
        writer.write(batch)
        self.transfer.report |= writer.report

    def _read(self, item: ImportItem) -> ReadItem:
        """Read, decode and store one file, in a thread without the database."""
        if item.problem or item.image_id is not None:
            return ReadItem(item, entry_labels=item.entry_labels, reason=item.problem, remark=item.remark)
        try:
            content = self.source.read(item.path, settings.EXEML_MAX_IMAGE_MB * 1024 * 1024)
            if not content:
                raise ImageRefused(gettext_noop("The file is empty."))
            base = self.options.get("address") or self.transfer.file_name
            picture = upload.store_image(
                self.project, item.name, content, data_source.file_address(base, item.path)
            )
        except ImageRefused as refusal:
            return ReadItem(item, reason=str(refusal))
        try:
            entry_labels = self._read_text(item) if item.text_path else item.entry_labels
        except ImageRefused as refusal:
            return ReadItem(item, picture, remark=str(refusal))
        return ReadItem(item, picture, entry_labels, remark=item.remark)

    def _read_text(self, item: ImportItem) -> tuple[EntryLabel, ...]:
        return read_label_text(self.source.read(item.text_path, MAX_TEXT_BYTES))
