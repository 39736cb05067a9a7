"""Uploads: from files as people have them to image rows, each with its file and its thumbnail.

A refused file stops no other. The file is written before the row, so there is no row without a file.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import IO, Any, Literal, Protocol

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from exeml_site.lib import jobs, storage
from projects.images.decode import DecodedImage, ImageRefused, decode_image
from projects.labels import actions
from projects.labels.annotations import lock_project
from projects.models import Image, Project, Transfer

log = logging.getLogger(__name__)

Status = Literal["added", "duplicate", "restored", "refused"]
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Upload(Protocol):
    """What Django's uploaded files, ContentFile and File have in common."""

    name: str | None

    def read(self, size: int = ..., /) -> bytes: ...


@dataclass(frozen=True)
class Outcome:
    """What became of one file; `reason` is empty for an added one and a sentence otherwise."""

    name: str
    status: Status
    image: Image | None = None
    reason: str = ""


@dataclass(frozen=True)
class StoredImage:
    """A picture whose file and thumbnail are stored, and whose row is not written yet."""

    name: str
    sha256: str
    size_bytes: int
    seen: DecodedImage
    source: str = ""


@dataclass(frozen=True)
class InsertedImages:
    """The images of pictures by their sha256: those that are new, and those that were there or in the bin."""

    added: dict[str, Image]
    found: dict[str, Image]
    restored: frozenset[str]

    def image(self, sha256: str) -> Image:
        return self.added.get(sha256) or self.found[sha256]


def add_images(project: Project, files: Iterable[Upload | IO[Any] | Any], by: User | None) -> list[Outcome]:
    """Add each file that is a picture and not yet there; one outcome per file, in order."""
    files = list(files)
    read = [_read_safely(clean_name(file.name), file) for file in files]
    hashes = [hashlib.sha256(one).hexdigest() if isinstance(one, bytes) else "" for one in read]
    known = _by_hash(project, hashes)
    wanted: dict[str, tuple[str, bytes]] = {}
    for file, content, sha256 in zip(files, read, hashes, strict=True):
        if isinstance(content, bytes) and sha256 not in known:
            wanted.setdefault(sha256, (clean_name(file.name), content))
    done = _pool().map(lambda one: _store_safely(project, *one), wanted.values())
    stored = dict(zip(wanted, done, strict=True))
    pictures = [one for one in stored.values() if isinstance(one, StoredImage)]
    rows = insert_images(project, pictures, by, known=known)
    jobs.after("images_added", project.pk)
    return list(_outcomes(zip(files, read, hashes, strict=True), stored, rows))


def _outcomes(
    files: Iterable[tuple[Any, bytes | str, str]],
    stored: Mapping[str, StoredImage | str],
    rows: InsertedImages,
) -> Iterator[Outcome]:
    told: set[str] = set()
    for file, content, sha256 in files:
        name = clean_name(file.name)
        problem = content if isinstance(content, str) else stored.get(sha256)
        if isinstance(problem, str):
            yield Outcome(name, "refused", reason=problem)
            continue
        image = rows.image(sha256)
        if sha256 in rows.added and sha256 not in told:
            yield Outcome(name, "added", image)
        elif sha256 in rows.restored and sha256 not in told:
            words = "Restored from the bin with its labels." if image.is_labeled else "Restored from the bin."
            yield Outcome(name, "restored", image, words)
        else:
            yield Outcome(name, "duplicate", image, f"The same picture as ‘{image.name}’, skipped.")
        told.add(sha256)


def clean_name(name: str | None) -> str:
    """The last part of a path, printable, at most 255 characters."""
    last = (name or "").replace("\\", "/").rstrip("/").rpartition("/")[2]
    return _CONTROL.sub("", last).strip()[:255] or "unnamed"


# --- files ---


def store_image(project: Project, name: str, content: bytes, source: str = "") -> StoredImage:
    """Decode a picture once, and store it with its thumbnail. Raises Refused, OSError. Reads no row."""
    seen = decode_image(content)
    sha256 = hashlib.sha256(content).hexdigest()
    image = Image(project=project, sha256=sha256, format=seen.format)
    storage.save_whole(image.file_name, content)
    storage.save_whole(image.thumbnail_name, seen.thumbnail)
    return StoredImage(clean_name(name), sha256, len(content), seen, source)


@cache
def _pool() -> ThreadPoolExecutor:
    """Decoding lets go of the interpreter; more pictures at once than this `pictures` does not admit."""
    return ThreadPoolExecutor(2, thread_name_prefix="decode")


def _store_safely(project: Project, name: str, content: bytes) -> StoredImage | str:
    """The stored picture, or why it is refused."""
    try:
        return store_image(project, name, content)
    except ImageRefused as refusal:
        return str(refusal)
    except OSError:
        log.exception("could not store %s of project %s", name, project.pk)
        return "The server could not store the file. Try again later."


def _read_safely(name: str, file: Any) -> bytes | str:
    """The whole content, or why it is refused. One byte more than allowed tells that it is too large."""
    limit = settings.EXEML_MAX_IMAGE_MB * 1024 * 1024
    try:
        content: bytes = file.read(limit + 1)
    except OSError:
        log.exception("could not read %s", name)
        return "The server could not store the file. Try again later."
    if not content:
        return "The file is empty."
    return f"The file is larger than {settings.EXEML_MAX_IMAGE_MB} MB." if len(content) > limit else content


# --- rows ---


@transaction.atomic
def insert_images(
    project: Project,
    pictures: Sequence[StoredImage],
    by: User | None,
    *,
    known: Mapping[str, Image] | None = None,
    transfer: Transfer | None = None,
) -> InsertedImages:
    """Write the rows of stored pictures. The same content is the same image; one in the bin comes back.

    `known`: images that were found before by their sha256, and are looked after in the same way.
    """
    lock_project(project)  # until the end of this transaction nobody else adds the same picture
    found = {**(known or {}), **_by_hash(project, [one.sha256 for one in pictures])}
    new: dict[str, Image] = {}
    for one in pictures:
        if one.sha256 not in found and one.sha256 not in new:
            new[one.sha256] = _row(project, one, by, transfer)
    Image.objects.bulk_create(new.values())
    added = _by_hash(project, list(new))
    binned = [image for image in found.values() if image.deleted_at is not None]
    if binned:
        actions.restore_images(project, [image.pk for image in binned], by)
        found |= _by_hash(project, [image.sha256 for image in binned])
    return InsertedImages(added, found, frozenset(image.sha256 for image in binned))


def _by_hash(project: Project, hashes: Iterable[str]) -> dict[str, Image]:
    wanted = {one for one in hashes if one}
    if not wanted:
        return {}
    return {image.sha256: image for image in Image.objects.filter(project=project, sha256__in=wanted)}


def _row(project: Project, one: StoredImage, by: User | None, transfer: Transfer | None) -> Image:
    seen = one.seen
    return Image(
        project=project,
        sha256=one.sha256,
        name=one.name,
        format=seen.format,
        width=seen.width,
        height=seen.height,
        brightness=seen.brightness,
        sharpness=seen.sharpness,
        size_bytes=one.size_bytes,
        uploaded_by=by,
        source=one.source,
        transfer=transfer,
    )
