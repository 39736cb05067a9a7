"""Uploaded files of an import: stored in parts in the default storage, read as one file.

Parts that have arrived are kept, so an interrupted upload resumes with the missing parts.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from django.core.files.storage import default_storage
from django.utils.translation import gettext

from exeml_site.lib import storage
from exeml_site.lib.display import count
from projects.models import Transfer

PART_BYTES = 8 * 1024 * 1024


class WrongPart(ValueError):
    """A part that does not belong to the upload; the message is for the user."""


def upload_folder(transfer: Transfer) -> str:
    """The folder of the uploaded files in the default storage."""
    return f"transfers/{transfer.pk}"


def part_count(size: int) -> int:
    """The number of parts of a file of `size` bytes."""
    return math.ceil(size / PART_BYTES)


def part_name(transfer: Transfer, file: int, number: int) -> str:
    return f"{upload_folder(transfer)}/{file}/{number:05d}"


def save_part(transfer: Transfer, file: int, number: int, content: bytes) -> None:
    """Store one part. Raises WrongPart if its number or size does not fit the upload."""
    files = transfer.options["files"]
    if not 0 <= file < len(files) or not 0 <= number < part_count(files[file]["size"]):
        raise WrongPart(gettext("This part does not belong to the upload."))
    expected = min(PART_BYTES, files[file]["size"] - number * PART_BYTES)
    if len(content) != expected:
        sentence = gettext("The part has %(size)s bytes instead of %(expected)s.")
        raise WrongPart(sentence % {"size": count(len(content)), "expected": count(expected)})
    storage.save_whole(part_name(transfer, file, number), content)


def missing_parts(transfer: Transfer) -> list[list[int]]:
    """The numbers of the parts that have not arrived, for each file."""
    missing = []
    for file, upload in enumerate(transfer.options["files"]):
        stored = _stored_names(f"{upload_folder(transfer)}/{file}")
        missing.append(
            [number for number in range(part_count(upload["size"])) if f"{number:05d}" not in stored]
        )
    return missing


def _stored_names(folder: str) -> set[str]:
    try:
        return set(default_storage.listdir(folder)[1])
    except FileNotFoundError:
        return set()


def open_file(transfer: Transfer, file: int) -> io.BufferedReader:
    """The uploaded file, seekable. Reading raises FileNotFoundError if a part is missing."""
    size = transfer.options["files"][file]["size"]
    names = [part_name(transfer, file, number) for number in range(part_count(size))]
    return io.BufferedReader(_JoinedParts(names, size), 1 << 20)


def delete_parts(transfer: Transfer) -> None:
    storage.delete_folder(upload_folder(transfer))


def gone_parts(names: Sequence[str]) -> set[str]:
    """Those of the stored files `transfers/<transfer>/…` whose transfer has ended or is deleted."""
    ids = {int(part) for name in names if (part := name.split("/")[1]).isdecimal()}
    rows = Transfer.objects.filter(pk__in=ids, finished_at=None)
    kept = {str(pk) for pk in rows.values_list("pk", flat=True)}
    return {name for name in names if name.split("/")[1] not in kept}


class _JoinedParts(io.RawIOBase):
    """Stored parts of PART_BYTES each (the last may be shorter), as one file."""

    def __init__(self, names: Sequence[str], size: int) -> None:
        self._names, self._size, self._at = names, size, 0
        self._open: tuple[int, Any] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, target: Any) -> int:
        number, inside = divmod(self._at, PART_BYTES)
        if number >= len(self._names):
            return 0
        part = self._part(number)
        part.seek(inside)
        read: int = part.readinto(target)
        self._at += read
        return read

    def _part(self, number: int) -> Any:
        if self._open is None or self._open[0] != number:
            self.close_part()
            self._open = (number, storage.local_path(self._names[number]).open("rb", buffering=0))
        return self._open[1]

    def close_part(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        self.close_part()
        super().close()
