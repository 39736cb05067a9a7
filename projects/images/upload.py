"""Uploads: stores image files and inserts their rows. Thumbnails are made when they are first needed.

A rejected file does not stop the others. The file is written before the row, so there is no row without a
file.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import IO, Any, Literal, Protocol

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import get_language, gettext, gettext_noop, override

from exeml_site.lib import jobs, storage
from exeml_site.lib.display import count
from exeml_site.lib.text import without_hidden
from projects.images.decode import DecodedImage, ImageRefused, decode_image
from projects.labels import actions, metadata
from projects.labels.annotations import lock_project
from projects.models import Image, Project, Transfer
from projects.usage import quotas

log = logging.getLogger(__name__)
SMALL_BYTES = 1 << 20
NOT_STORED = gettext_noop("The server could not store the file. Try again later.")

Status = Literal["added", "duplicate", "restored", "refused"]


class Upload(Protocol):
    """Common protocol of Django's UploadedFile, ContentFile and File."""

    name: str | None

    def read(self, size: int = ..., /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...


@dataclass(frozen=True)
class Outcome:
    """Result for one file; `reason` is a sentence for the user, empty where an added file needs none."""

    name: str
    status: Status
    image: Image | None = None
    reason: str = ""


@dataclass(frozen=True)
class StoredImage:
    """A picture whose file is stored, and whose row is not inserted yet."""

    name: str
    sha256: str
    size_bytes: int
    decoded: DecodedImage
    source: str = ""


@dataclass(frozen=True)
class InsertedImages:
    """Images by sha256: `added` ones, existing ones, and the sha256 of those `restored` from the bin."""

    added: dict[str, Image]
    existing: dict[str, Image]
    restored: frozenset[str]

    def image(self, sha256: str) -> Image:
        return self.added.get(sha256) or self.existing[sha256]


def add_images(project: Project, files: Iterable[Upload | IO[Any] | Any], by: User | None) -> list[Outcome]:
    """Add the files that are valid pictures and new to the project. Returns one outcome per file.

    The files are read twice, so that two large and eight small ones are in memory at once, however many there
    are.
    """
    hashed = [(file, *_hash_safely(file)) for file in files]
    existing = _by_hash(project, [sha256 for _, sha256, _ in hashed])
    new_files: dict[str, Any] = {}
    for file, sha256, problem in hashed:
        if not problem and sha256 not in existing:
            new_files.setdefault(sha256, file)
    language = get_language()  # the threads of the pool have none
    try:
        quotas.check_storage(project.team, sum(map(_size, new_files.values())))
        futures = {
            sha256: _pool(_size(file) <= SMALL_BYTES).submit(_store_safely, project, file, language)
            for sha256, file in new_files.items()
        }
        stored = {sha256: future.result() for sha256, future in futures.items()}
    except quotas.QuotaReached as reached:
        stored = dict.fromkeys(new_files, str(reached))
    pictures = [picture for picture in stored.values() if isinstance(picture, StoredImage)]
    rows = insert_images(project, pictures, by, existing=existing)
    jobs.after("images_added", project.pk)
    return list(_outcomes(hashed, stored, rows))


def _outcomes(
    files: Iterable[tuple[Any, str, str]],
    stored: Mapping[str, StoredImage | str],
    rows: InsertedImages,
) -> Iterator[Outcome]:
    reported: set[str] = set()
    for file, sha256, refusal in files:
        name = clean_name(file.name)
        problem = refusal or stored.get(sha256)
        if isinstance(problem, str):
            yield Outcome(name, "refused", reason=problem)
            continue
        image = rows.image(sha256)
        if sha256 in rows.added and sha256 not in reported:
            picture = stored[sha256]
            note = picture.decoded.note if isinstance(picture, StoredImage) else ""
            yield Outcome(name, "added", image, note)
        elif sha256 in rows.restored and sha256 not in reported:
            with_labels = gettext("Restored from the bin with its labels.")
            reason = with_labels if image.is_labeled else gettext("Restored from the bin.")
            yield Outcome(name, "restored", image, reason)
        else:
            reason = gettext("Skipped: the same picture as ‘%(image)s’.") % {"image": image.name}
            yield Outcome(name, "duplicate", image, reason)
        reported.add(sha256)


def clean_name(name: str | None) -> str:
    """The last part of a path without hidden characters, at most 255 characters."""
    last = (name or "").replace("\\", "/").rstrip("/").rpartition("/")[2]
    return without_hidden(last).strip()[:255] or "unnamed"


# --- files ---


def store_image(project: Project, name: str, content: bytes, source: str = "") -> StoredImage:
    """Decode and store a picture, without any query. Raises ImageRefused, OSError."""
    decoded = decode_image(content, name)
    sha256 = hashlib.sha256(content).hexdigest()
    image = Image(project=project, sha256=sha256, format=decoded.format)
    storage.save_whole(image.file_name, content)
    return StoredImage(clean_name(name), sha256, len(content), decoded, source)


@cache
def _pool(is_small: bool) -> ThreadPoolExecutor:
    """Pillow releases the GIL while decoding. `images.decode` admits two pictures at once.

    The threads of small files wait for the disk or for S3: 1,000 files of 100 bytes are on a disk after 3 s
    with two threads, after 1 s with eight.
    """
    return ThreadPoolExecutor(8 if is_small else 2, thread_name_prefix="store")


def _store_safely(project: Project, file: Any, language: str | None) -> StoredImage | str:
    """The stored picture, or the reason for its rejection. Only the files being stored are in memory."""
    name = clean_name(file.name)
    try:
        file.seek(0)
        with override(language):
            return store_image(project, name, file.read())
    except ImageRefused as refusal:
        return str(refusal)
    except OSError:
        log.exception("could not store %s of project %s", name, project.pk)
        return gettext(NOT_STORED)


def _hash_safely(file: Any) -> tuple[str, str]:
    """The sha256 of a file and "", or "" and the reason for its rejection. It is read in chunks."""
    limit, size, sha256 = settings.EXEML_MAX_IMAGE_MB * 1024 * 1024, 0, hashlib.sha256()
    try:
        while size <= limit and (chunk := file.read(storage.CHUNK_BYTES)):
            size += len(chunk)
            sha256.update(chunk)
    except OSError:
        log.exception("could not read %s", clean_name(file.name))
        return "", gettext(NOT_STORED)
    if not size:
        return "", gettext("The file is empty.")
    if size > limit:
        sentence = gettext("The file is larger than %(limit)s MB.")
        return "", sentence % {"limit": count(settings.EXEML_MAX_IMAGE_MB)}
    return sha256.hexdigest(), ""


def _size(file: Any) -> int:
    return int(file.seek(0, 2) or file.tell())


# --- rows ---


@transaction.atomic
def insert_images(
    project: Project,
    pictures: Sequence[StoredImage],
    by: User | None,
    *,
    existing: Mapping[str, Image] | None = None,
    transfer: Transfer | None = None,
) -> InsertedImages:
    """Insert the rows of stored pictures. Existing images (same sha256) are kept, and restored from the bin.

    `existing`: sha256 → images that the caller found already; they are treated in the same way.
    """
    lock_project(project)  # so that nobody else adds the same picture at this moment
    images = {**(existing or {}), **_by_hash(project, [picture.sha256 for picture in pictures])}
    new: dict[str, Image] = {}
    for picture in pictures:
        if picture.sha256 not in images and picture.sha256 not in new:
            new[picture.sha256] = _row(project, picture, by, transfer)
    added = {image.sha256: image for image in Image.objects.bulk_create(new.values())}
    _write_exif(project, pictures, added)
    binned = [image for image in images.values() if image.deleted_at is not None]
    if binned:
        actions.restore_images(project, [image.pk for image in binned], by)
        images |= _by_hash(project, [image.sha256 for image in binned])
    return InsertedImages(added, images, frozenset(image.sha256 for image in binned))


def _write_exif(project: Project, pictures: Sequence[StoredImage], added: Mapping[str, Image]) -> None:
    """Set camera and day of new images as columns of metadata, where the project has room for columns."""
    exif = {
        added[picture.sha256].pk: picture.decoded.exif
        for picture in pictures
        if picture.sha256 in added and picture.decoded.exif
    }
    with suppress(ValidationError):
        metadata.write_values(project, exif, keeps=True)


def _by_hash(project: Project, hashes: Iterable[str]) -> dict[str, Image]:
    sha256s = {sha256 for sha256 in hashes if sha256}
    if not sha256s:
        return {}
    return {image.sha256: image for image in Image.objects.filter(project=project, sha256__in=sha256s)}


def _row(project: Project, stored: StoredImage, by: User | None, transfer: Transfer | None) -> Image:
    decoded = stored.decoded
    return Image(
        project=project,
        sha256=stored.sha256,
        name=stored.name,
        format=decoded.format,
        width=decoded.width,
        height=decoded.height,
        size_bytes=stored.size_bytes,
        uploaded_by=by,
        source=stored.source,
        transfer=transfer,
    )
