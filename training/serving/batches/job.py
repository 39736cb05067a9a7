"""Batch prediction in a worker: with progress, cancelling, and resuming after an interruption."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone

from exeml_site.lib import storage
from exeml_site.lib.errors import Refused
from exeml_site.lib.job_row import Cancelled, failure
from exeml_site.lib.text import without_hidden
from projects.images import decode
from projects.models import Image
from projects.transfers import data_source
from projects.transfers.described_images import ImportItem, ItemKind
from projects.transfers.descriptions import CannotPlan, Description
from projects.transfers.file_sources import EmptySource, FileSource, SourceUnreadable, ZipSource
from projects.transfers.import_plan import make_plan
from training.engine.bundle.decision import AnswerSettings
from training.models import Batch, Service
from training.serving.answer import batch_line
from training.serving.inference import model_cache
from training.versions.answer_settings import settings_in

Status = Batch.Status
CHUNK_SIZE = 32
SLICE_S = 1800  # then it waits behind other jobs, long before its own would be ended
ARCHIVE_SUFFIXES = (".zip",)
MANIFEST_SUFFIXES = (".manifest", ".jsonl", ".csv", ".tsv")
STORED_WITHIN_HOURS = 6
UPLOAD_INTERRUPTED = "The upload was interrupted. Send it again."
UNEXPECTED_ERROR = (
    "Something unexpected happened. Start again; if it happens again, operators can see the reason."
)
EXPECTED = (CannotPlan, SourceUnreadable, model_cache.ModelUnavailable)


class BatchRefused(Refused):
    """The batch cannot start; the text is a sentence for the person."""


def create_batch(service: Service, uploads: Sequence[UploadedFile[bytes]], address: str, by: User) -> Batch:
    """Store the uploads, or check the address of a server folder, and enqueue. Raises BatchRefused."""
    if bool(uploads) == bool(address):
        raise BatchRefused("Choose a zip archive or a manifest, or name a folder of the server: one of them.")
    names = [upload.name or "" for upload in uploads]
    _check_names(names)
    if address:
        try:
            address = data_source.check_address(address)
        except ValidationError as problem:
            raise BatchRefused(problem.messages[0]) from problem
    name = without_hidden(names[0] if names else address)[-255:]
    batch = Batch.objects.create(
        service=service,
        training_version=service.training_version,
        answer_settings=settings_in(service, service.training_version).as_json(),
        name=name,
        address=address,
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
    if not Batch.objects.filter(pk=batch.pk).update(files=batch.files):
        storage.delete_folder(batch.folder)
        raise BatchRefused("Somebody deleted this batch while its files were being stored.")
    batch.enqueue()
    return batch


def _check_names(names: Sequence[str]) -> None:
    unknown = [name for name in names if not name.lower().endswith((*ARCHIVE_SUFFIXES, *MANIFEST_SUFFIXES))]
    if unknown:
        raise BatchRefused(f"“{unknown[0]}” is neither a zip archive nor a manifest or table.")
    if sum(name.lower().endswith(ARCHIVE_SUFFIXES) for name in names) > 1 or len(names) > 2:
        raise BatchRefused("Send at most one zip archive and one manifest or table.")


def cancel(batch: Batch) -> bool:
    """Cancel a batch; its answers so far stay. False if it had ended."""
    return batch.cancel(is_cancel_wanted=True)


def delete(batch: Batch) -> bool:
    """Delete a batch with its answers. False while it is active."""
    with transaction.atomic():
        is_deleted, _ = Batch.objects.filter(pk=batch.pk).exclude(status__in=Batch.ACTIVE).delete()
        if is_deleted:
            transaction.on_commit(lambda: storage.delete_folder(batch.folder))
    return bool(is_deleted)


def catch_up() -> None:
    """Enqueue batches whose job is lost, and end those that were never stored; run every 15 seconds."""
    for batch in Batch.objects.lost():
        batch.enqueue()
    old = timezone.now() - timedelta(hours=STORED_WITHIN_HOURS)
    for batch in Batch.objects.filter(files=[], address="", status=Status.WAITING, created_at__lt=old):
        storage.delete_folder(batch.folder)
        waiting = Batch.objects.filter(pk=batch.pk, status=Status.WAITING)
        waiting.end(Status.FAILED, problem=UPLOAD_INTERRUPTED)


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
    """The images that the manifest names, or else all; and rows about images that are not there."""
    manifests = _manifests(batch)
    plan = make_plan(batch.service.project, source, beside=manifests, has_unlisted=not manifests)
    return [item for item in plan.items if item.kind in (ItemKind.IMAGE, ItemKind.ROW)]


def _answer_all(batch: Batch, source: FileSource) -> bool:
    """Answer the images. False if SLICE_S passed before the end. Raises what ends a batch."""
    model_cache.load_model(batch.training_version)
    items = _items(batch, source)
    Batch.objects.filter(pk=batch.pk).update(total=len(items))
    path = _results_path(batch)
    done, failed = _count_complete_lines(path)
    threads, until = max(2, os.cpu_count() or 2), time.monotonic() + SLICE_S
    with path.open("a", encoding="utf-8") as lines, ThreadPoolExecutor(threads) as pool:
        for start in range(done, len(items), CHUNK_SIZE):
            chunk = items[start : start + CHUNK_SIZE]
            answer = partial(_answer_item, batch, source, _stored_files(chunk))
            for line in pool.map(answer, chunk):
                lines.write(json.dumps(line, ensure_ascii=False) + "\n")
                failed += line["result"] == "FAILED"
            lines.flush()
            done += len(chunk)
            batch.beat(done=done, failed=failed)
            if time.monotonic() > until:
                return False
    _store_results(batch, path, done, failed)
    return True


def _store_results(batch: Batch, path: Path, done: int, failed: int) -> None:
    with path.open("rb") as content:
        storage.save_whole(f"{batch.folder}/results.jsonl", content)
    Batch.objects.filter(pk=batch.pk).update(done=done, failed=failed)


def _results_path(batch: Batch) -> Path:
    path = Path(settings.WORK_DIR) / "batches" / f"{batch.pk}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


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
    """The answer to one image, in a thread without the database."""
    settings, name = AnswerSettings.from_json(batch.answer_settings), item.path or item.name
    return batch_line(batch.training_version, settings, name, lambda: _read_item(source, item, stored))


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
    path.unlink(missing_ok=True)
    if batch.held().end(status, **fields):
        for file in batch.files:
            storage.delete_file(file["stored"])
