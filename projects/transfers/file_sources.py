"""Sources of files to import: a zip archive, a server folder, an S3 prefix. All have the same interface."""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn, Protocol, cast
from urllib.parse import parse_qsl

from django.utils.translation import gettext, gettext_noop

from projects.formats.encodings import decode_zip_names, guess_names, repaired_directory
from projects.images.decode import ImageRefused

ENCRYPTED = 0x1
# Files and folders of macOS, Windows, Linux, NAS servers (Synology, QNAP) and Python.
# fmt: off
IGNORED_NAMES = {
    "__macosx", "thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini",
    "system volume information",  # not translated: the name of a folder
    "icon\r", "$recycle.bin", "recycler", "recycled", "found.000", "lost.dir",
    "lost+found", "@eadir", "@tmp", "@sharebin", "@recycle", "@recently-snapshot", "#recycle", "#snapshot",
    "__pycache__",
}
# fmt: on
SYSTEM_FILE = gettext_noop("A hidden file, or one that an operating system or a server added.")
SAME_PATH = gettext_noop("The archive has another file with this path, which was used.")
TOO_LARGE = "The file is larger than {limit_mb:,.0f} MB."  # not translated: stored with values
LINK = gettext_noop("A symbolic link to another file. Links are not followed.")
BROKEN = gettext_noop("The file is broken or cut off in the archive.")
PROTECTED = gettext_noop("The file is protected by a password.")
NO_FILE = gettext_noop("There is no file with it.")
READ_BYTES = 1 << 18
MAX_END_BYTES = 22 + (1 << 16)  # the end of a zip archive with its comment
COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
UNKNOWN_COMPRESSIONS = {
    9: "deflate64", 20: "zstd", 93: "zstd", 95: "xz", 96: "jpeg", 97: "wavpack", 98: "ppmd",
}  # fmt: skip
# What zipfile and its decompressors raise at a broken member.
MEMBER_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError,
    NotImplementedError, RuntimeError, MemoryError,
)  # fmt: skip


class SourceUnreadable(Exception):
    """The source cannot be read at all; the message names cause and remedy."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a source: its path with `/`, and its size in bytes."""

    path: str
    size: int


class FileSource(Protocol):
    def files(self) -> list[SourceFile]:
        """All files of the user, ordered by path. Raises SourceUnreadable."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """The whole file. Raises ImageRefused if it has more than `limit` bytes or cannot be read."""
        ...

    def open(self, path: str, limit: int) -> AbstractContextManager[BinaryIO]:
        """The file as a stream, for reading once from its beginning. Raises ImageRefused as `read` does.

        Reading the stream raises it, too: at a broken part, or beyond `limit` bytes.
        """
        ...


class EmptySource:
    """A source without files: all images are in the project already."""

    def files(self) -> list[SourceFile]:
        return []

    def read(self, path: str, limit: int) -> bytes:
        raise ImageRefused(NO_FILE)

    def open(self, path: str, limit: int) -> AbstractContextManager[BinaryIO]:
        raise ImageRefused(NO_FILE)


class ZipSource:
    """A zip archive. Several threads may read at once.

    `names_encoding`: what a person chose for names that do not state their encoding; empty: it is found.
    """

    def __init__(self, file: IO[bytes], names_encoding: str = "") -> None:
        self._zip = _open_zip(file)
        members = self._zip.infolist()
        names, self._names_encoding = decode_zip_names(members, names_encoding)
        self._members: dict[str, zipfile.ZipInfo] = {}
        self.left_out: list[tuple[str, str]] = []  # paths of files that are not listed, with reasons
        for name, member in zip(names, members, strict=True):
            if not member.filename.endswith("/"):  # `is_dir` raises for an empty name
                self._add_member(clean_path(name), member)
        if self._members and all(member.flag_bits & ENCRYPTED for member in self._members.values()):
            raise SourceUnreadable(
                gettext("The archive is protected by a password. Import one without a password.")
            )

    def _add_member(self, path: str, member: zipfile.ZipInfo) -> None:
        if not is_user_file(path):
            self.left_out.append((path or member.filename, SYSTEM_FILE))
            return
        if stat.S_ISLNK(member.external_attr >> 16):
            self.left_out.append((path, LINK))
            return
        if path in self._members:
            self.left_out.append((path, SAME_PATH))
        self._members[path] = member

    @property
    def names_encoding(self) -> str:
        """The encoding of the names that state none: a key of `encodings.CHOICES`."""
        return self._names_encoding.name

    @property
    def is_names_encoding_guessed(self) -> bool:
        return self._names_encoding.is_guess

    def files(self) -> list[SourceFile]:
        return [SourceFile(path, member.file_size) for path, member in sorted(self._members.items())]

    def read(self, path: str, limit: int) -> bytes:
        with self.open(path, limit) as file:
            return file.read()

    @contextmanager
    def open(self, path: str, limit: int) -> Iterator[BinaryIO]:
        member = self._members[path]
        if member.file_size > limit:
            raise ImageRefused(TOO_LARGE.format(limit_mb=limit / 1024**2))
        if member.flag_bits & ENCRYPTED:
            raise ImageRefused(PROTECTED)
        if member.compress_type not in COMPRESSIONS:
            raise ImageRefused(_unknown_compression(member.compress_type))
        try:
            file = self._zip.open(member)
        except MEMBER_ERRORS as problem:
            _refuse_member(problem)
        # The size in the archive's directory may be wrong: the stream counts.
        with file, _LimitedFile(file.read, limit, MEMBER_ERRORS, _refuse_member) as stream:
            yield cast(BinaryIO, io.BufferedReader(stream, READ_BYTES))


DIRECTORY_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError)


def _open_zip(file: IO[bytes]) -> zipfile.ZipFile:
    """The archive. One entry of its directory that zipfile refuses does not cost the others."""
    try:
        return zipfile.ZipFile(file)
    except DIRECTORY_ERRORS:
        with suppress(*DIRECTORY_ERRORS):
            return zipfile.ZipFile(cast(IO[bytes], _RepairedZip(file)))
    raise SourceUnreadable(
        gettext("The file is not a zip archive, or it is cut off. Make the archive again and import it.")
    )


class _RepairedZip(io.RawIOBase):
    """A zip archive whose directory has no entry that zipfile refuses to read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        end_of_file = file.seek(0, os.SEEK_END)
        tail_at = file.seek(max(0, end_of_file - MAX_END_BYTES))
        tail = file.read()
        end = tail.rfind(b"PK\x05\x06")
        size = struct.unpack_from("<I", tail, end + 12)[0] if end >= 0 else 0
        self._start = tail_at + end - size
        if end < 0 or self._start < 0:
            raise zipfile.BadZipFile("no directory")
        file.seek(self._start)
        self._directory = repaired_directory(file.read(size))

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, target: Any) -> int:
        at = self._file.tell() - self._start
        content = self._file.read(len(target))
        first, last = max(at, 0), min(at + len(content), len(self._directory))
        if first < last:
            content = content[: first - at] + self._directory[first:last] + content[last - at :]
        target[: len(content)] = content
        return len(content)


def _unknown_compression(number: int) -> str:
    if number == 99:  # AES
        return PROTECTED
    name = UNKNOWN_COMPRESSIONS.get(number, f"number {number}")
    return f"The compression of the file ({name}) is not supported. Use deflate."  # not translated: values


def _refuse_member(problem: Exception) -> NoReturn:
    """Raise ImageRefused for a broken member; a fault of the disk under the archive is raised as it is."""
    if isinstance(problem, OSError) and problem.errno is not None:  # bz2 raises OSError without a number
        raise problem
    raise ImageRefused(BROKEN) from problem


class _LimitedFile(io.RawIOBase):
    """A stream over `read` that raises ImageRefused beyond `limit` bytes, and by `refuse` for `errors`."""

    def __init__(
        self,
        read: Callable[[int], bytes],
        limit: int,
        errors: tuple[type[Exception], ...],
        refuse: Callable[[Exception], NoReturn],
    ) -> None:
        self._read, self._limit, self._left = read, limit, limit
        self._errors, self._refuse = errors, refuse

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        content = self._next(len(target))
        target[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        """The rest, in a few large pieces: the inherited one reads 8 KB at a time."""
        return b"".join(iter(lambda: self._next(READ_BYTES), b""))

    def _next(self, size: int) -> bytes:
        try:
            content = self._read(size)
        except self._errors as problem:
            self._refuse(problem)
        self._left -= len(content)
        if self._left < 0:
            raise ImageRefused(TOO_LARGE.format(limit_mb=self._limit / 1024**2))
        return content


class FolderSource:
    """A server folder; symbolic links are not followed. Names that are not UTF-8 are guessed together."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        self._real_paths: dict[str, str] = {}  # of guessed names

    def files(self) -> list[SourceFile]:
        try:
            os.scandir(self._root).close()
        except OSError as problem:
            reason = problem.strerror or "it is not there"  # not translated: part of what follows
            raise SourceUnreadable(
                f"The folder {self._root} cannot be read ({reason}). "  # not translated: stored with values
                "Ask an operator whether it is mounted."
            ) from problem
        files = list(self._walk())
        unclear = [file.path for file in files if not is_text(file.path)]
        guessed = dict(zip(unclear, guess_names(list(map(os.fsencode, unclear))), strict=True))
        self._real_paths = {name: path for path, name in guessed.items()}
        named = [replace(file, path=guessed.get(file.path, file.path)) for file in files]
        return sorted(named, key=lambda file: file.path)

    def _walk(self) -> Iterator[SourceFile]:
        for folder, inner, names in os.walk(self._root):
            inner[:] = [name for name in inner if is_user_file(name)]
            for name in filter(is_user_file, names):
                path = Path(folder, name)
                try:
                    info = path.lstat()
                except OSError:
                    continue  # deleted since the folder was listed
                if stat.S_ISREG(info.st_mode):
                    yield SourceFile(path.relative_to(self._root).as_posix(), info.st_size)

    def read(self, path: str, limit: int) -> bytes:
        with self.open(path, limit) as file:
            return file.read()

    @contextmanager
    def open(self, path: str, limit: int) -> Iterator[BinaryIO]:
        try:
            handle = os.open(self._root / self._real_paths.get(path, path), os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as problem:
            _refuse_file(problem)
        with os.fdopen(handle, "rb") as file, _LimitedFile(file.read, limit, (OSError,), _refuse_file) as raw:
            yield cast(BinaryIO, io.BufferedReader(raw, READ_BYTES))


def _refuse_file(problem: Exception) -> NoReturn:
    sentence = f"The file cannot be read ({getattr(problem, 'strerror', problem)})."  # not translated: values
    raise ImageRefused(sentence) from problem


class S3Source:
    """The objects below `s3://bucket/prefix`; boto3 finds the credentials.

    `options`: `endpoint=…&region=…` of the operator's root. They are never part of an address.
    """

    def __init__(self, address: str, options: str) -> None:
        self._bucket, _, prefix = address.removeprefix("s3://").partition("/")
        query = dict(parse_qsl(options))
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._options = {"endpoint_url": query.get("endpoint"), "region_name": query.get("region")}
        self._made: Any = None

    @property
    def _client(self) -> Any:
        if self._made is None:
            import boto3  # takes half a second; only S3 needs it

            self._made = boto3.client("s3", **self._options)
        return self._made

    def files(self) -> list[SourceFile]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            files = [
                SourceFile(entry["Key"].removeprefix(self._prefix), entry["Size"])
                for page in pages
                for entry in page.get("Contents", [])
            ]
        except (BotoCoreError, ClientError) as problem:
            sentence = f"The bucket {self._bucket} does not answer: {problem}"  # not translated: values
            raise SourceUnreadable(sentence) from problem
        # Keys that end in "/" are placeholders of folders.
        user_files = [file for file in files if not file.path.endswith("/") and is_user_file(file.path)]
        return sorted(user_files, key=lambda file: file.path)

    def read(self, path: str, limit: int) -> bytes:
        with self.open(path, limit) as file:
            return file.read()

    @contextmanager
    def open(self, path: str, limit: int) -> Iterator[BinaryIO]:
        from botocore.exceptions import BotoCoreError, ClientError

        errors = (BotoCoreError, ClientError)
        try:
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)["Body"]
        except errors as problem:
            _refuse_object(problem)
        with body, _LimitedFile(body.read, limit, errors, _refuse_object) as stream:
            yield cast(BinaryIO, io.BufferedReader(stream, READ_BYTES))


def _refuse_object(problem: Exception) -> NoReturn:
    sentence = f"The bucket did not return the file: {problem}"  # not translated: stored with values
    raise ImageRefused(sentence) from problem


def is_text(name: str) -> bool:
    """False for a name of the system whose bytes are not UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def clean_path(path: str) -> str:
    """The path with forward slashes and without parts that lead out of the source."""
    parts = path.replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def is_user_file(path: str) -> bool:
    """False for hidden files and for those that operating systems add."""
    parts = path.lower().split("/")
    return bool(path) and not any(part.startswith(".") or part in IGNORED_NAMES for part in parts)
