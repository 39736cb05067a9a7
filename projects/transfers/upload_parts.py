"""Uploaded files of an import: kept in parts in the default storage, read as one file.

A part that arrived stays: an upload that was cut off goes on with the parts that are missing.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from django.core.files.storage import default_storage

from exeml_site.lib import storage
from projects.models import Transfer

PART_BYTES = 8 * 1024 * 1024


class WrongPart(ValueError):
    """A part that does not belong to the upload; the text is a sentence."""


def upload_folder(transfer: Transfer) -> str:
    """Where the uploaded files lie in the default storage."""
    return f"transfers/{transfer.pk}"


def part_count(size: int) -> int:
    """Into how many parts a file of `size` bytes is cut."""
    return math.ceil(size / PART_BYTES)


def part_name(transfer: Transfer, file: int, number: int) -> str:
    return f"{upload_folder(transfer)}/{file}/{number:05d}"


def save_part(transfer: Transfer, file: int, number: int, content: bytes) -> None:
    """Store one part. Raises WrongPart where the upload has no such part or it has another size."""
    told = transfer.options["files"]
    if not 0 <= file < len(told) or not 0 <= number < part_count(told[file]["size"]):
        raise WrongPart("This part does not belong to the upload.")
    wanted = min(PART_BYTES, told[file]["size"] - number * PART_BYTES)
    if len(content) != wanted:
        raise WrongPart(f"The part has {len(content):,} bytes instead of {wanted:,}.")
    storage.save_whole(part_name(transfer, file, number), content)


def missing_parts(transfer: Transfer) -> list[list[int]]:
    """The numbers of the parts that have not arrived, for each file."""
    found = []
    for file, told in enumerate(transfer.options["files"]):
        here = _stored_names(f"{upload_folder(transfer)}/{file}")
        found.append([number for number in range(part_count(told["size"])) if f"{number:05d}" not in here])
    return found


def _stored_names(folder: str) -> set[str]:
    try:
        return set(default_storage.listdir(folder)[1])
    except FileNotFoundError:
        return set()


def open_file(transfer: Transfer, file: int) -> io.BufferedReader:
    """The uploaded file, seekable. Raises FileNotFoundError while reading where a part is missing."""
    size = transfer.options["files"][file]["size"]
    names = [part_name(transfer, file, number) for number in range(part_count(size))]
    return io.BufferedReader(_JoinedParts(names, size), 1 << 20)


def delete_parts(transfer: Transfer) -> None:
    storage.delete_folder(upload_folder(transfer))


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
