"""Uploads: from files as people have them to image rows, each with its file and its thumbnail.

A refused file stops no other. The file is written before the row, so there is no row without a file.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any, Literal, Protocol

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from projects import background, labeling
from projects import files as stored
from projects.models import Image, Project
from projects.pictures import Refused, examine

log = logging.getLogger(__name__)

Status = Literal["added", "duplicate", "restored", "refused"]
LOOK_AT_IMAGES = "training.embedding.embed"  # the job that makes what suggestions are learned from
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


def add_images(project: Project, files: Iterable[Upload | IO[Any] | Any], by: User | None) -> list[Outcome]:
    """Add each file that is a picture and not yet there; one outcome per file, in order."""
    outcomes = [_add_one(project, file, by) for file in files]
    background.soon(LOOK_AT_IMAGES, project.pk)
    return outcomes


def clean_name(name: str | None) -> str:
    """The last part of a path, printable, at most 255 characters."""
    last = (name or "").replace("\\", "/").rstrip("/").rpartition("/")[2]
    return _CONTROL.sub("", last).strip()[:255] or "unnamed"


def _add_one(project: Project, file: Any, by: User | None) -> Outcome:
    name = clean_name(file.name)
    try:
        content = _read(file)
        sha256 = hashlib.sha256(content).hexdigest()
        return _found(project, name, sha256, by) or _stored(project, name, sha256, content, by)
    except Refused as refusal:
        return Outcome(name, "refused", reason=str(refusal))
    except OSError:
        log.exception("could not store %s of project %s", name, project.pk)
        return Outcome(name, "refused", reason="The server could not store the file. Try again later.")


def _read(file: Any) -> bytes:
    """The whole content; one byte more than allowed is enough to know that it is too large."""
    limit = settings.EXEML_MAX_IMAGE_MB * 1024 * 1024
    content: bytes = file.read(limit + 1)
    if not content:
        raise Refused("The file is empty.")
    if len(content) > limit:
        raise Refused(f"The file is larger than {settings.EXEML_MAX_IMAGE_MB} MB.")
    return content


def _found(project: Project, name: str, sha256: str, by: User | None) -> Outcome | None:
    """The outcome where the project has this very picture already, alive or in the bin."""
    image = Image.objects.filter(project=project, sha256=sha256).first()
    if image is None:
        return None
    if image.deleted_at is None:
        return Outcome(name, "duplicate", image, f"The same picture as ‘{image.name}’, skipped.")
    labeling.restore_images(project, [image.pk], by)
    image.refresh_from_db()
    words = "Restored from the bin with its labels." if image.is_labeled else "Restored from the bin."
    return Outcome(name, "restored", image, words)


def _stored(project: Project, name: str, sha256: str, content: bytes, by: User | None) -> Outcome:
    seen = examine(content)
    image = Image(
        project=project,
        sha256=sha256,
        name=name,
        format=seen.format,
        width=seen.width,
        height=seen.height,
        brightness=seen.brightness,
        sharpness=seen.sharpness,
        size_bytes=len(content),
        uploaded_by=by,
    )
    stored.save_whole(image.file_name, content)
    stored.save_whole(image.thumbnail_name, seen.thumbnail)
    try:
        with transaction.atomic():
            image.save(force_insert=True)
    except IntegrityError:  # somebody uploaded the same file in this moment; both wrote the same bytes
        outcome = _found(project, name, sha256, by)
        if outcome is None:
            raise
        return outcome
    return Outcome(name, "added", image)
