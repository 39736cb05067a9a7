"""The job that imports. It goes through its plan in chunks; each chunk is one transaction with its cursor.

Killed at any moment it begins again at the last cursor, and finds no doubles: the same content is the same
image. After SLICE_S it stands in line again, so that another project's import need not wait for its end.
"""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from exeml_site.lib import jobs
from exeml_site.lib.job_row import Cancelled, ClaimLost
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
    "The server could not store the files ({reason}). Ask an operator whether the disk is full; then import "
    "the same again: nothing comes twice."
)
UNEXPECTED_ERROR = "Something went wrong on the server. What was imported stays; operators can read why."
CONFLICTING_DUPLICATE = "The same picture came twice with different labels: its first one was taken."
LABELS_KEPT = "The image is in the project already with other labels, and keeps them."
Status = Transfer.Status


@dataclass(frozen=True)
class _ReadItem:
    """What became of one item outside the database: a picture, an image that is there, or a refusal."""

    item: ImportItem
    picture: upload.StoredImage | None = None
    entry_labels: tuple[EntryLabel, ...] = ()
    reason: str = ""

    def image_id(self, images: dict[str, int]) -> int | None:
        """The image that it became, or was all the time; `images` by their sha256."""
        return images.get(self.picture.sha256) if self.picture else self.item.image_id


def run(transfer_id: int) -> None:
    """Import, or go on with it. Another worker's import and an ended one are left alone."""
    if not Transfer.objects.silent().filter(pk=transfer_id).claim():
        return
    transfer = Transfer.objects.select_related("project__team", "by").get(pk=transfer_id)
    try:
        with _open_source(transfer) as source:
            is_done = _Import(transfer, source).go_on()
        if is_done:
            _end(transfer, Status.COMPLETED)
        else:
            transfer.release()
    except ClaimLost:
        logger.warning("import %d is done by another worker", transfer_id)
    except Cancelled:
        _end(transfer, Status.CANCELLED)
    except Exception as problem:
        _end(transfer, Status.FAILED, **_explain(problem, transfer_id))


def _explain(problem: Exception, transfer_id: int) -> dict[str, str]:
    """A sentence for the person and, where nobody expected the problem, a traceback for operators."""
    if isinstance(problem, CannotPlan | SourceUnreadable):
        return {"problem": str(problem)}
    if isinstance(problem, ValidationError):
        return {"problem": problem.messages[0]}
    logger.error("import %d failed", transfer_id, exc_info=problem)
    sentence = UNEXPECTED_ERROR
    if isinstance(problem, OSError):
        sentence = NOT_STORED.format(reason=problem.strerror or problem)
    return {"problem": sentence, "traceback": "".join(traceback.format_exception(problem))}


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
    archive = next(
        (at for at, name in enumerate(names) if name.lower().endswith(imports.ARCHIVE_SUFFIXES)), None
    )
    if archive is None:
        source = DataSource.objects.filter(project=transfer.project_id).first()
        yield data_source.open_source(source.address) if source else EmptySource()
        return
    with upload_parts.open_file(transfer, archive) as file:
        yield ZipSource(file)


def _read_description(transfer: Transfer) -> tuple[str, bytes] | None:
    for at, file in enumerate(transfer.options["files"]):
        if not file["name"].lower().endswith(imports.ARCHIVE_SUFFIXES):
            with upload_parts.open_file(transfer, at) as content:
                return file["name"], content.read()
    return None


class _Import:
    """One run over the plan of a transfer, from its cursor on."""

    def __init__(self, transfer: Transfer, place: FileSource) -> None:
        self.transfer, self.project, self.place = transfer, transfer.project, place
        self.options: dict[str, Any] = transfer.options
        self.counts = Counter(transfer.report.get("counts", {}))

    def go_on(self) -> bool:
        """Work through the plan; False where time is up before its end. Raises what ends an import."""
        end = time.monotonic() + SLICE_S
        wanted = self._plan()
        threads = settings.EXEML_ENGINE_THREADS or os.cpu_count() or 1
        with ThreadPoolExecutor(threads) as pool:
            size = FIRST_CHUNK  # the bar moves soon, and the first images are there to be seen
            while self.transfer.cursor < len(wanted.items):
                if time.monotonic() > end:
                    return False
                start = self.transfer.cursor
                self._chunk(pool, wanted.items[start : start + min(size, CHUNK)])
                jobs.after("images_added", self.project.pk)
                size *= 2
        return True

    # --- the plan ---

    def _plan(self) -> ImportPlan:
        if self.transfer.kind == Transfer.Kind.SOURCE:
            return self._plan_of_source()
        wanted = make_plan(
            self.project,
            self.place,
            labels_from=LabelsFrom(self.options.get("labels_from", LabelsFrom.AUTOMATIC)),
            description=_read_description(self.transfer),
            mapping=PathMapping(self.options.get("prefix", ""), self.options.get("folder", "")),
        )
        if self.transfer.cursor == 0:
            bulk_import.import_label_looks(
                self.project, [(one.name, one.colour, one.key) for one in wanted.looks]
            )
        self._tell_total(len(wanted.items), wanted.labels_from)
        return wanted

    def _plan_of_source(self) -> ImportPlan:
        """Files that an image came from are known by their address and size, and not read again.

        Folders are labels only where the Manager said so; text files beside the images always.
        """
        kind = LabelsFrom.FOLDERS if self.options["has_folder_labels"] else LabelsFrom.TEXTS
        found = {one.path: one.size for one in self.place.files()}
        base = data_source.file_address(self.options["address"], "")
        rows = Image.objects.filter(project=self.project, source__startswith=base)
        known = {
            source: (pk, size, gone)
            for pk, source, size, gone in rows.values_list("pk", "source", "size_bytes", "deleted_at")
        }
        addresses = {data_source.file_address(self.options["address"], path) for path in found}
        vanished = [pk for source, (pk, _, gone) in known.items() if gone is None and source not in addresses]
        self._note(vanished=sorted(vanished))
        if not found:
            self._tell_total(0, kind)
            return ImportPlan([], kind)
        wanted = make_plan(self.project, self.place, labels_from=kind)
        items = [self._as_known(item, known, found) for item in wanted.items]
        self._tell_total(len(items), wanted.labels_from)
        return replace(wanted, items=items)

    def _as_known(self, item: ImportItem, known: dict[str, Any], found: dict[str, int]) -> ImportItem:
        row = known.get(data_source.file_address(self.options["address"], item.path))
        if row is None or row[1] != found.get(item.path):
            return item
        return replace(item, path="", image_id=row[0], entry_labels=(), text_path="")

    def _tell_total(self, total: int, labels_from: LabelsFrom) -> None:
        self._note(labels_from=labels_from.value)
        Transfer.objects.filter(pk=self.transfer.pk).update(total=total)

    def _note(self, **more: Any) -> None:
        self.transfer.report |= more
        Transfer.objects.filter(pk=self.transfer.pk).update(report=self.transfer.report)

    # --- a chunk ---

    def _chunk(self, pool: ThreadPoolExecutor, items: Sequence[ImportItem]) -> None:
        self.transfer.beat()
        read = []
        for one in pool.map(self._read, items):
            read.append(one)
            self.transfer.beat()
        with transaction.atomic():
            self._write(read)
            unchanged = self.transfer.held().filter(cursor=self.transfer.cursor)
            self.transfer.cursor += len(items)
            self.transfer.report["counts"] = dict(self.counts)
            fields = {"cursor": self.transfer.cursor, "report": self.transfer.report}
            if not unchanged.update(heartbeat_at=timezone.now(), **fields):
                raise ClaimLost

    def _read(self, item: ImportItem) -> _ReadItem:
        """In a thread, without the database: read, decode, store the files."""
        if item.problem or item.image_id is not None:
            return _ReadItem(item, entry_labels=item.entry_labels, reason=item.problem)
        try:
            content = self.place.read(item.path, settings.EXEML_MAX_IMAGE_MB * 1024 * 1024)
            if not content:
                raise ImageRefused("The file is empty.")
            marks = item.entry_labels
            if item.text_path:
                marks = read_label_file(self.place.read(item.text_path, MAX_LABEL_FILE_BYTES))
            base = self.options.get("address") or self.transfer.file_name
            picture = upload.store_image(
                self.project, item.name, content, data_source.file_address(base, item.path)
            )
        except ImageRefused as refusal:
            return _ReadItem(item, reason=str(refusal))
        return _ReadItem(item, picture, marks)

    # --- its transaction ---

    def _write(self, read: Sequence[_ReadItem]) -> None:
        images = self._images([one.picture for one in read if one.picture is not None])
        refused = [(one.item, one.reason) for one in read if one.reason]
        wanted, unlabeled = self._labels(read, images)
        kept = self._give({pk: one.entry_labels for pk, one in wanted.items()})
        unlabeled += [(wanted[pk].item, LABELS_KEPT) for pk in kept]
        self._give_sides(read, images)
        self.counts["refused"] += len(refused)
        self.counts["present"] += sum(one.item.image_id is not None for one in read)
        RejectedFile.objects.bulk_create(
            RejectedFile(transfer=self.transfer, name=(item.path or item.name)[:1024], reason=reason[:500])
            for item, reason in refused + unlabeled
        )

    def _labels(
        self, read: Sequence[_ReadItem], images: dict[str, int]
    ) -> tuple[dict[int, _ReadItem], list[tuple[ImportItem, str]]]:
        """What gives each image its labels, and the files whose labels cannot be given."""
        wanted: dict[int, _ReadItem] = {}
        problems = []
        for one in read:
            pk = one.image_id(images)
            if pk is None or one.reason or not one.entry_labels:
                continue
            if reason := bulk_import.labels_problem(self.project, one.entry_labels):
                problems.append((one.item, f"Its label was not taken. {reason}"))
            elif pk not in wanted:
                wanted[pk] = one
            elif self.project.is_multi_label:
                wanted[pk] = replace(wanted[pk], entry_labels=(*wanted[pk].entry_labels, *one.entry_labels))
            elif {mark.name for mark in one.entry_labels} != {mark.name for mark in wanted[pk].entry_labels}:
                problems.append((one.item, CONFLICTING_DUPLICATE))
        return wanted, problems

    def _images(self, pictures: Sequence[upload.StoredImage]) -> dict[str, int]:
        """The image of each picture by its sha256; rows are written for those that are new."""
        rows = upload.insert_images(self.project, pictures, self.transfer.by, transfer=self.transfer)
        self.counts["added"] += len(rows.added)
        self.counts["restored"] += len(rows.restored)
        self.counts["duplicate"] += len(pictures) - len(rows.added) - len(rows.restored)
        return {sha256: image.pk for sha256, image in (rows.added | rows.existing).items()}

    def _give(self, wanted: dict[int, tuple[EntryLabel, ...]]) -> list[int]:
        """The images that keep other labels, which they had before."""
        given = bulk_import.import_labels(
            self.project,
            wanted,
            self.transfer.by,
            replaces=self.options.get("existing") == "replace",
            details={"transfer": self.transfer.pk},
        )
        self.counts["labeled"] += given.labeled
        return given.kept

    def _give_sides(self, read: Sequence[_ReadItem], images: dict[str, int]) -> None:
        """TRAIN and EVAL of a manifest, where the image has no side yet; hard examples."""
        sides: dict[str, list[int]] = {}
        hard: list[int] = []
        for one in read:
            pk = one.image_id(images)
            if pk is not None and not one.reason:
                sides.setdefault(one.item.split, []).append(pk)
                hard += [pk] if one.item.is_hard else []
        for side, ids in sides.items():
            if side:
                Image.objects.filter(pk__in=ids, split="").update(split=side)
        if hard:
            Image.objects.filter(pk__in=hard).update(is_hard=True)
