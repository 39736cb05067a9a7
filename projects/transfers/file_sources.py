"""Sources of files to import: a zip archive, a server folder, an S3 prefix. All have the same interface."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import parse_qsl

from projects.images.decode import ImageRefused

ENCRYPTED = 0x1
IGNORED_NAMES = {"__macosx", "thumbs.db", "desktop.ini"}
TOO_LARGE = "The file is larger than {limit_mb:,.0f} MB."
BROKEN = "The file is broken or cut off in the archive."


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


class EmptySource:
    """A source without files: all images are in the project already."""

    def files(self) -> list[SourceFile]:
        return []

    def read(self, path: str, limit: int) -> bytes:
        raise ImageRefused("There is no file with it.")


class ZipSource:
    """A zip archive. Several threads may read at once."""

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as problem:
            raise SourceUnreadable(
                "The file is no zip archive, or it is cut off. Make the archive again and import that."
            ) from problem
        self._members = {
            clean_path(member.filename): member
            for member in self._zip.infolist()
            if is_user_file(clean_path(member.filename)) and not member.is_dir()  # no name: is_dir raises
        }
        if self._members and all(member.flag_bits & ENCRYPTED for member in self._members.values()):
            raise SourceUnreadable(
                "The archive is protected by a password. Make one without, and import that."
            )

    def files(self) -> list[SourceFile]:
        return [SourceFile(path, member.file_size) for path, member in sorted(self._members.items())]

    def read(self, path: str, limit: int) -> bytes:
        member = self._members[path]
        if member.file_size > limit:
            raise ImageRefused(TOO_LARGE.format(limit_mb=limit / 1024**2))
        if member.flag_bits & ENCRYPTED:
            raise ImageRefused("The file is protected by a password.")
        try:
            with self._zip.open(member) as file:
                content = file.read(limit + 1)  # the size in the archive's directory may be wrong
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as problem:
            raise ImageRefused(BROKEN) from problem
        if len(content) > limit:
            raise ImageRefused(TOO_LARGE.format(limit_mb=limit / 1024**2))
        return content


class FolderSource:
    """A server folder; symbolic links are not followed."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)

    def files(self) -> list[SourceFile]:
        try:
            os.scandir(self._root).close()
        except OSError as problem:
            reason = problem.strerror or "it is not there"
            raise SourceUnreadable(
                f"The folder {self._root} cannot be read ({reason}). Ask an operator whether it is mounted."
            ) from problem
        return sorted(self._walk(), key=lambda file: file.path)

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
        try:
            handle = os.open(self._root / path, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(handle, "rb") as file:
                content = file.read(limit + 1)
        except OSError as problem:
            raise ImageRefused(f"The file cannot be read ({problem.strerror}).") from problem
        if len(content) > limit:
            raise ImageRefused(TOO_LARGE.format(limit_mb=limit / 1024**2))
        return content


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
            raise SourceUnreadable(f"The bucket {self._bucket} does not answer: {problem}") from problem
        # Keys that end in "/" are placeholders of folders.
        user_files = [file for file in files if not file.path.endswith("/") and is_user_file(file.path)]
        return sorted(user_files, key=lambda file: file.path)

    def read(self, path: str, limit: int) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)
            content: bytes = answer["Body"].read(limit + 1)
        except (BotoCoreError, ClientError) as problem:
            raise ImageRefused(f"The bucket did not give the file: {problem}") from problem
        if len(content) > limit:
            raise ImageRefused(TOO_LARGE.format(limit_mb=limit / 1024**2))
        return content


def clean_path(path: str) -> str:
    """The path with forward slashes and without parts that lead out of the source."""
    parts = path.replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def is_user_file(path: str) -> bool:
    """False for hidden files and for those that operating systems add."""
    parts = path.lower().split("/")
    return bool(path) and not any(part.startswith(".") or part in IGNORED_NAMES for part in parts)
