"""Streams of label files: read again from the beginning, and read to a limit."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, cast

from projects.formats.errors import LabelFileError

BEGINNING_BYTES = 1 << 18
MAX_DOCUMENT_BYTES = 32 * 1024 * 1024  # JSON documents that must be read whole, and XML


def rejoin(beginning: bytes, file: BinaryIO) -> BinaryIO:
    """The stream from its beginning again; streams of archives cannot seek."""
    return cast(BinaryIO, io.BufferedReader(_Rejoined(beginning, file), BEGINNING_BYTES))


class _Rejoined(io.RawIOBase):
    def __init__(self, beginning: bytes, file: BinaryIO) -> None:
        self._beginning, self._file = beginning, file

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        content = self._beginning[: len(target)] or self._file.read(len(target))
        self._beginning = self._beginning[len(content) :]
        target[: len(content)] = content
        return len(content)


def limited(file: BinaryIO) -> BinaryIO:
    """The stream, which raises LabelFileError beyond MAX_DOCUMENT_BYTES."""
    return cast(BinaryIO, io.BufferedReader(_LimitedDocument(file)))


class _LimitedDocument(io.RawIOBase):
    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, MAX_DOCUMENT_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        content = self._file.read(len(target))
        self._left -= len(content)
        if self._left < 0:
            limit = MAX_DOCUMENT_BYTES // 1024**2
            raise LabelFileError(
                f"The file is larger than {limit} MB and must be read whole. "  # not translated: with values
                "Export it as JSON Lines or CSV."
            )
        target[: len(content)] = content
        return len(content)
