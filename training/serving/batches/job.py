"""Thousands of pictures answered in a worker: with progress and a stop; interrupted, it goes on."""

from __future__ import annotations

import json
import logging
import os
import time
import traceback
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
from exeml_site.lib.job_row import Cancelled
from projects.images import decode
from projects.models import Image
from projects.transfers import data_source
from projects.transfers.file_sources import EmptySource, FileSource, SourceUnreadable, ZipSource
from projects.transfers.import_plan import CannotPlan, ImportItem, make_plan
from training.models import Batch, Service, TrainingVersion
from training.serving.answer import batch_line
from training.serving.inference import model_cache

logger = logging.getLogger(__name__)

Status = Batch.Status
CHUNK_SIZE = 32
SLICE_S = 1800  # then it waits behind other jobs, long before its own would be ended
ARCHIVE_SUFFIXES = (".zip",)
MANIFEST_SUFFIXES = (".manifest", ".jsonl", ".csv", ".tsv")
STORED_WITHIN_HOURS = 6
UPLOAD_INTERRUPTED = "The upload was interrupted. Send it again."
UNEXPECTED_ERROR = (
    "Something unexpected happened. Begin again; if it happens again, an operator finds the reason."
)


class BatchRefused(Refused):
    """The batch cannot begin; the text says why, for the user."""


# --- actions ---


def create_batch(service: Service, uploads: Sequence[UploadedFile[bytes]], address: str, by: User) -> Batch:
    """Store what was sent and hand it to a worker. Raises BatchRefused."""
    if bool(uploads) == bool(address):
        raise BatchRefused("Choose a zip archive or a manifest, or name a folder of the server: one of them.")
    names = [upload.name or "" for upload in uploads]
    _check_names(names)
    if address:
        try:
            address = data_source.check_address(address)
        except ValidationError as problem:
            raise BatchRefused(problem.messages[0]) from problem
    name = (names[0] if names else address)[-255:]
    batch = Batch.objects.create(
        service=service, training_version=service.training_version, name=name, address=address, created_by=by
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
        raise BatchRefused("Somebody took this batch out of the list while its files were being stored.")
    batch.enqueue()
    return batch


def _check_names(names: Sequence[str]) -> None:
    strange = [one for one in names if not one.lower().endswith((*ARCHIVE_SUFFIXES, *MANIFEST_SUFFIXES))]
    if strange:
        raise BatchRefused(f"“{strange[0]}” is neither a zip archive nor a manifest or table.")
    if sum(one.lower().endswith(ARCHIVE_SUFFIXES) for one in names) > 1 or len(names) > 2:
        raise BatchRefused("One zip archive, and one manifest or table with it, at most.")


def cancel(batch: Batch) -> bool:
    """Cancel a batch; its answers so far stay. False where it had ended."""
    return batch.cancel(is_cancel_wanted=True)


def delete(batch: Batch) -> bool:
    """The answers go, too. False while it is active."""
    with transaction.atomic():
        gone, _ = Batch.objects.filter(pk=batch.pk).exclude(status__in=Batch.ACTIVE).delete()
        if gone:
            transaction.on_commit(lambda: storage.delete_folder(batch.folder))
    return bool(gone)


def catch_up() -> None:
    """Enqueue batches whose job is lost, and end those that were never stored; run every 15 seconds."""
    for batch in Batch.objects.lost():
        batch.enqueue()
    old = timezone.now() - timedelta(hours=STORED_WITHIN_HOURS)
    for batch in Batch.objects.filter(files=[], address="", status=Status.WAITING, created_at__lt=old):
        storage.delete_folder(batch.folder)
        waiting = Batch.objects.filter(pk=batch.pk, status=Status.WAITING)
        waiting.end(Status.FAILED, problem=UPLOAD_INTERRUPTED)


# --- the job ---


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
        _finish(batch, Status.FAILED, **_explain(problem, batch_id))


def _explain(problem: Exception, batch_id: int) -> dict[str, str]:
    """A sentence for the person and, where nobody expected the problem, a traceback for operators."""
    if isinstance(problem, CannotPlan | SourceUnreadable | model_cache.ModelUnavailable):
        return {"problem": str(problem)}
    if isinstance(problem, ValidationError):
        return {"problem": problem.messages[0]}
    logger.error("batch %d failed", batch_id, exc_info=problem)
    trace = "".join(traceback.format_exception(problem))[-20_000:]
    return {"problem": UNEXPECTED_ERROR, "traceback": trace}


@contextmanager
def _open_source(batch: Batch) -> Iterator[FileSource]:
    if batch.address:
        yield data_source.open_source(batch.address)
        return
    archive = next((one for one in batch.files if one["name"].lower().endswith(ARCHIVE_SUFFIXES)), None)
    if archive is None:
        yield EmptySource()
        return
    with storage.local_path(archive["stored"]).open("rb") as file:
        yield ZipSource(file)


def _read_manifest(batch: Batch) -> tuple[str, bytes] | None:
    for one in batch.files:
        if not one["name"].lower().endswith(ARCHIVE_SUFFIXES):
            return one["name"], storage.local_path(one["stored"]).read_bytes()
    return None


def _answer_all(batch: Batch, place: FileSource) -> bool:
    """False where time is up before the end. Raises what ends a batch."""
    model_cache.load_model(batch.training_version)
    wanted = make_plan(batch.service.project, place, description=_read_manifest(batch)).items
    Batch.objects.filter(pk=batch.pk).update(total=len(wanted))
    path = _results_path(batch)
    done, failed = _count_complete_lines(path)
    threads, until = max(2, os.cpu_count() or 2), time.monotonic() + SLICE_S
    with path.open("a", encoding="utf-8") as lines, ThreadPoolExecutor(threads) as pool:
        for start in range(done, len(wanted), CHUNK_SIZE):
            chunk = wanted[start : start + CHUNK_SIZE]
            stored = _stored_files(chunk)
            answer = partial(_answer_item, batch.training_version, place, stored)
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
    """How many answers are there and how many of them failed; what a killed worker half wrote is cut off."""
    if not path.exists():
        return 0, 0
    done = failed = whole = 0
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            done += 1
            failed += json.loads(line)["result"] == "FAILED"
    with path.open("r+b") as file:
        file.truncate(whole)
    return done, failed


def _stored_files(items: Sequence[ImportItem]) -> dict[int, str]:
    """Files of those that are images of the project."""
    ids = [item.image_id for item in items if item.image_id is not None]
    return {one.pk: one.file_name for one in Image.objects.filter(pk__in=ids)}


def _answer_item(
    version: TrainingVersion, place: FileSource, stored: dict[int, str], item: ImportItem
) -> dict[str, Any]:
    """The answer to one picture, in a thread without the database."""
    return batch_line(version, item.path or item.name, lambda: _read_item(place, item, stored))


def _read_item(place: FileSource, item: ImportItem, stored: dict[int, str]) -> bytes:
    if item.problem:
        raise decode.ImageRefused(item.problem)
    if item.image_id is not None:
        return storage.local_path(stored.get(item.image_id, "")).read_bytes()
    return place.read(item.path, settings.EXEML_MAX_IMAGE_MB * 1024 * 1024)


def _finish(batch: Batch, status: Batch.Status, **fields: str) -> None:
    """End the batch and delete what was sent. What was answered before a cancel stays."""
    path = _results_path(batch)
    if status == Status.CANCELLED and path.exists():
        done, failed = _count_complete_lines(path)
        _store_results(batch, path, done, failed)
    path.unlink(missing_ok=True)
    if batch.held().end(status, **fields):
        for file in batch.files:
            storage.delete_file(file["stored"])
