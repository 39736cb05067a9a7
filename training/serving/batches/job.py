"""Batch prediction in a worker: with progress, cancelling, and resuming after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone, translation
from django.utils.translation import gettext, gettext_noop

from exeml_site.lib import storage
from exeml_site.lib.errors import Refused
from exeml_site.lib.job_row import Cancelled, failure
from exeml_site.lib.text import without_hidden
from projects import audit
from projects.images import decode
from projects.images.thumbnail import make_thumbnail
from projects.models import Image
from projects.transfers import data_source
from projects.transfers.described_images import ImportItem, ItemKind
from projects.transfers.descriptions import CannotPlan, Description
from projects.transfers.file_sources import EmptySource, FileSource, SourceUnreadable, ZipSource
from projects.transfers.import_plan import MAX_TEXT_BYTES, make_plan, read_label_text
from training.engine.bundle.decision import AnswerSettings
from training.models import Batch, Service
from training.serving.answer import batch_line
from training.serving.batches import selection, truths
from training.serving.batches.judgement import judge
from training.serving.inference import model_cache
from training.versions.answer_settings import settings_in
from training.versions.number_formats import number_format_in
from training.versions.webhook_events import end_batch, raise_batch_ended

Status = Batch.Status
ReadMistake = Callable[[int], bytes]  # the picture of a line by its number
CHUNK_SIZE = 32
SLICE_S = 1800  # then it waits behind other jobs, long before its own would be ended
ARCHIVE_SUFFIXES = (".zip",)
MANIFEST_SUFFIXES = (".manifest", ".jsonl", ".csv", ".tsv")
STORED_WITHIN_HOURS = 6
CHOOSE_ONE = gettext_noop("Choose one: files, a folder on the server, or images of the project.")
UPLOAD_INTERRUPTED = gettext_noop("The upload was interrupted. Send it again.")
UNEXPECTED_ERROR = gettext_noop(
    "Something unexpected happened. Start again; if it happens again, operators can see the reason."
)
EXPECTED = (CannotPlan, SourceUnreadable, model_cache.ModelUnavailable)


class BatchRefused(Refused):
    """The batch cannot start; the text is a sentence for the person."""


def create_batch(
    service: Service, uploads: Sequence[UploadedFile[bytes]], address: str, by: User, chosen: str = ""
) -> Batch:
    """Store the uploads, or check the folder or the selection of images, and enqueue. Raises BatchRefused."""
    if sum(map(bool, (uploads, address, chosen))) != 1:
        raise BatchRefused(gettext(CHOOSE_ONE))
    if chosen and chosen not in Batch.Selection.values:
        raise BatchRefused(gettext("Choose one of the selections of images."))
    names = [upload.name or "" for upload in uploads]
    _check_names(names)
    if address:
        try:
            address = data_source.check_address(address)
        except ValidationError as problem:
            raise BatchRefused(problem.messages[0]) from problem
    name = names[0] if names else address or _selection_name(chosen)
    batch = Batch.objects.create(
        service=service,
        training_version=service.training_version,
        answer_settings=settings_in(service, service.training_version).as_json(),
        number_format=number_format_in(service, service.training_version),
        name=without_hidden(name)[-255:],
        address=address,
        selection=chosen,
        created_by=by,
    )
    try:
        for number, upload in enumerate(uploads):
            stored = f"{batch.folder}/upload-{number}{Path(names[number]).suffix.lower()}"
            storage.save_whole(stored, cast(BinaryIO, upload.file))
            batch.files.append({"name": names[number], "stored": stored})
    except BaseException:
        storage.delete_folder(batch.folder)
        batch.delete()
        raise
    with transaction.atomic():
        is_there = Batch.objects.filter(pk=batch.pk).update(files=batch.files)
        if is_there:
            _record(audit.Kind.BATCH_STARTED, batch)
            batch.enqueue()
    if not is_there:
        storage.delete_folder(batch.folder)
        raise BatchRefused(gettext("Somebody deleted this batch while its files were being stored."))
    return batch


@translation.override("en")
def _selection_name(chosen: str) -> str:
    """Stored as the name of the batch, so it is English."""
    return str(Batch.Selection(chosen).label)


def _check_names(names: Sequence[str]) -> None:
    unknown = [name for name in names if not name.lower().endswith((*ARCHIVE_SUFFIXES, *MANIFEST_SUFFIXES))]
    if unknown:
        text = gettext("“%(name)s” is neither a zip archive nor a manifest or table.")
        raise BatchRefused(text % {"name": unknown[0]})
    if sum(name.lower().endswith(ARCHIVE_SUFFIXES) for name in names) > 1 or len(names) > 2:
        raise BatchRefused(gettext("Send at most one zip archive and one manifest or table."))


def cancel(batch: Batch) -> bool:
    """Cancel a batch; its answers so far stay. False if it had ended."""
    with transaction.atomic():
        is_cancelled = batch.cancel(is_cancel_wanted=True)
        if is_cancelled:
            _record(audit.Kind.BATCH_CANCELLED, batch)
            if Batch.objects.filter(pk=batch.pk, status=Status.CANCELLED).exists():  # it had not begun
                raise_batch_ended(batch)
    return is_cancelled


def delete(batch: Batch) -> bool:
    """Delete a batch with its answers. False while it is active."""
    with transaction.atomic():
        is_deleted, _ = Batch.objects.filter(pk=batch.pk).exclude(status__in=Batch.ACTIVE).delete()
        if is_deleted:
            storage.delete_folder(batch.folder)  # if the storage is away, the row stays
            _record(audit.Kind.BATCH_DELETED, batch)
    return bool(is_deleted)


def _record(kind: audit.Kind, batch: Batch) -> None:
    audit.record(kind, project=batch.service.project, target=batch.name, service=batch.service.name)


def catch_up() -> None:
    """Enqueue batches whose job is lost, and end those that were never stored; run every 15 seconds."""
    for batch in Batch.objects.lost():
        batch.enqueue()
    old = timezone.now() - timedelta(hours=STORED_WITHIN_HOURS)
    unstored = Batch.objects.filter(files=[], address="", selection="", status=Status.WAITING)
    for batch in unstored.filter(created_at__lt=old):
        storage.delete_folder(batch.folder)
        waiting = Batch.objects.filter(pk=batch.pk, status=Status.WAITING)
        end_batch(waiting, batch, Status.FAILED, problem=UPLOAD_INTERRUPTED)


def run(batch_id: int) -> None:
    """Answer the pictures, from where the batch stopped. A batch that ended or has a worker is left alone."""
    if not Batch.objects.silent().filter(pk=batch_id).claim():
        return
    batch = Batch.objects.select_related("service__project", "training_version").get(pk=batch_id)
    try:
        with _open_source(batch) as source:
            is_done = _answer_all(batch, source)
        if is_done:
            _finish(batch, Status.COMPLETED)
        else:
            batch.release()
    except Cancelled:
        _finish(batch, Status.CANCELLED)
    except Exception as problem:
        if isinstance(problem, SourceUnreadable) or not batch.outlives(problem):
            _finish(batch, Status.FAILED, **failure(problem, UNEXPECTED_ERROR, *EXPECTED))


@contextmanager
def _open_source(batch: Batch) -> Iterator[FileSource]:
    if batch.address:
        yield data_source.open_source(batch.address)
        return
    archive = next((file for file in batch.files if file["name"].lower().endswith(ARCHIVE_SUFFIXES)), None)
    if archive is None:
        yield EmptySource()
        return
    with storage.local_path(archive["stored"]).open("rb") as file:
        yield ZipSource(file)


def _manifests(batch: Batch) -> list[Description]:
    return [
        Description(file["name"], partial(_open_stored, file["stored"]), is_beside=True)
        for file in batch.files
        if not file["name"].lower().endswith(ARCHIVE_SUFFIXES)
    ]


def _open_stored(name: str) -> BinaryIO:
    return storage.local_path(name).open("rb")


def _items(batch: Batch, source: FileSource) -> list[ImportItem]:
    """The images of the selection, or those that the manifest names, or all of the source.

    Rows of the manifest about images that are not there are items, too.
    """
    if batch.selection:
        return selection.items_of(batch, _work_folder() / f"{batch.pk}.images.json")
    manifests = _manifests(batch)
    plan = make_plan(batch.service.project, source, beside=manifests, has_unlisted=not manifests)
    items = [item for item in plan.items if item.kind in (ItemKind.IMAGE, ItemKind.ROW)]
    labels = model_cache.load_model(batch.training_version, batch.number_format).labels
    return truths.labels_of_items(items, plan.labels_from, labels)


def _answer_all(batch: Batch, source: FileSource) -> bool:
    """Answer the images. False if SLICE_S passed before the end. Raises what ends a batch."""
    threads = max(2, settings.EXEML_ENGINE_THREADS or os.cpu_count() or 1)
    # Loaded before there is a second thread.
    model_cache.load_model(batch.training_version, batch.number_format, streams=threads)
    items = _items(batch, source)
    Batch.objects.filter(pk=batch.pk).update(total=len(items))
    path = _results_path(batch)
    done, failed = _count_complete_lines(path)
    pool, until = ThreadPoolExecutor(threads), time.monotonic() + SLICE_S
    try:
        with path.open("a", encoding="utf-8") as lines:
            for answers in _answers(pool, batch, source, items[done:]):
                for line in answers:
                    lines.write(json.dumps(line, ensure_ascii=False) + "\n")
                    failed += line["result"] == "FAILED"
                    done += 1
                lines.flush()
                batch.beat(done=done, failed=failed)
                if time.monotonic() > until and done < len(items):
                    return False
    finally:
        pool.shutdown(cancel_futures=True)
    _store_results(batch, path, done, failed, partial(_read_mistake, source, items))
    return True


def _answers(
    pool: ThreadPoolExecutor, batch: Batch, source: FileSource, items: Sequence[ImportItem]
) -> Iterator[Iterator[dict[str, Any]]]:
    """The answers to the items in chunks; the threads work on the next chunk while one is written."""

    def begin(start: int) -> Iterator[dict[str, Any]]:
        chunk = items[start : start + CHUNK_SIZE]
        return pool.map(partial(_answer_item, batch, source, _stored_files(chunk)), chunk)

    ahead = begin(0)
    for start in range(0, len(items), CHUNK_SIZE):
        answers, ahead = ahead, begin(start + CHUNK_SIZE)
        yield answers


def _store_results(
    batch: Batch, path: Path, done: int, failed: int, read_mistake: ReadMistake | None = None
) -> None:
    """Judge the answers where labels are known, and store them; `read_mistake` gives pictures of mistakes."""
    version = batch.training_version
    labels, trained = (
        model_cache.load_model(version, batch.number_format).labels,
        truths.trained_sha256s(version),
    )
    with path.open("rb") as lines, TemporaryFile(dir=path.parent) as file:
        judgement, judged = judge(map(json.loads, lines), batch.service.project, labels, trained)
        for line in judged:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        file.seek(0)
        storage.save_whole(f"{batch.folder}/results.jsonl", cast(BinaryIO, file))
    stored = judgement.as_json()
    for mistake in stored["mistakes"]:
        number = mistake["number"]
        mistake["has_picture"] = read_mistake is not None and _store_picture(batch, number, read_mistake)
    Batch.objects.filter(pk=batch.pk).update(done=done, failed=failed, judgement=stored)


def _store_picture(batch: Batch, number: int, read: ReadMistake) -> bool:
    """Store the thumbnail of a mistake; the uploads are deleted when the batch ends."""
    try:
        thumbnail = make_thumbnail(read(number)).content
    except (OSError, decode.ImageRefused):
        return False
    storage.save_whole(batch.picture_name(number), thumbnail)
    return True


def _read_mistake(source: FileSource, items: Sequence[ImportItem], number: int) -> bytes:
    item = items[number]
    return _read_item(source, item, _stored_files([item]))


def _work_folder() -> Path:
    folder = Path(settings.WORK_DIR) / "batches"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _results_path(batch: Batch) -> Path:
    return _work_folder() / f"{batch.pk}.jsonl"


def _count_complete_lines(path: Path) -> tuple[int, int]:
    """The numbers of answers and of failed ones; an incomplete last line of a killed worker is cut off."""
    if not path.exists():
        return 0, 0
    done = failed = complete_bytes = 0
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break
            complete_bytes += len(line)
            done += 1
            failed += json.loads(line)["result"] == "FAILED"
    with path.open("r+b") as file:
        file.truncate(complete_bytes)
    return done, failed


def _stored_files(items: Sequence[ImportItem]) -> dict[int, str]:
    """The stored file of each item that is an image of the project, by the image's key."""
    ids = [item.image_id for item in items if item.image_id is not None]
    return {image.pk: image.file_name for image in Image.objects.filter(pk__in=ids)}


def _answer_item(
    batch: Batch, source: FileSource, stored: dict[int, str], item: ImportItem
) -> dict[str, Any]:
    """The answer to one image with its hash and given labels, in a thread without the database."""
    settings = AnswerSettings.from_json(batch.answer_settings)
    sha256 = ""

    def read() -> bytes:
        nonlocal sha256
        content = _read_item(source, item, stored)
        sha256 = hashlib.sha256(content).hexdigest()
        return content

    line = batch_line(batch.training_version, settings, item.path or item.name, read, batch.number_format)
    return line | {"sha256": sha256, "given_labels": _given_labels(source, item)}


def _given_labels(source: FileSource, item: ImportItem) -> list[str]:
    """The labels that came with the image; none if its text file cannot be read."""
    labels = item.entry_labels
    if item.text_path:
        try:
            labels = read_label_text(source.read(item.text_path, MAX_TEXT_BYTES))
        except (decode.ImageRefused, OSError):
            return []
    return [label.name for label in labels]


def _read_item(source: FileSource, item: ImportItem, stored: dict[int, str]) -> bytes:
    if item.problem:
        raise decode.ImageRefused(item.problem)
    if item.image_id is not None:
        return storage.local_path(stored.get(item.image_id, "")).read_bytes()
    return source.read(item.path, settings.EXEML_MAX_IMAGE_MB * 1024 * 1024)


def _finish(batch: Batch, status: Batch.Status, **fields: str) -> None:
    """End the batch and delete its uploads. Answers given before a cancel are stored."""
    path = _results_path(batch)
    if status == Status.CANCELLED and path.exists():
        done, failed = _count_complete_lines(path)
        _store_results(batch, path, done, failed)
    for left in (path, _work_folder() / f"{batch.pk}.images.json"):
        left.unlink(missing_ok=True)
    if end_batch(batch.held(), batch, status, **fields):
        for file in batch.files:
            storage.delete_file(file["stored"])
