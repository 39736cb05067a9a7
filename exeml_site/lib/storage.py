"""Files in the default storage: atomic writes, local paths, deletion, for local folders and S3 alike."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage

from exeml_site.lib.files import cache
from exeml_site.lib.files.temporary_files import parts_folder
from exeml_site.lib.outages.parts import Part, part_of

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 16
# What a full disk and a lost mount answer: later it may be different.
PASSING_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS)


class StorageAway(Exception):
    """The storage does not answer now. So do errors of boto3 say (`outages.parts`)."""


def is_remote() -> bool:
    """Whether files lie on another machine, so that `local_path` downloads them."""
    return _local_path_or_none("") is None


def is_away(problem: BaseException) -> bool:
    """Whether a remote storage did not answer, or said that it cannot now. It may hold the file."""
    return isinstance(problem, StorageAway) or part_of(problem) == Part.STORAGE


def may_pass(problem: BaseException) -> bool:
    """Whether storing a file may succeed later: the storage is away, refuses it, or the disk is full."""
    names = sys.modules.get("botocore.exceptions")
    if names is not None and isinstance(problem, names.BotoCoreError | names.ClientError):
        return True
    is_passing = isinstance(problem, OSError) and problem.errno in PASSING_ERRNOS
    return is_passing or is_away(problem)


def local_path(name: str) -> Path:
    """Local path of a stored file; a file of a remote storage is downloaded once into the cache.

    Raises FileNotFoundError if nothing is stored under `name`.
    """
    path = _local_path_or_none(name)
    if path is None:
        return _download(name)
    if not path.is_file():
        raise FileNotFoundError(f"Nothing is stored as {name}.")  # not translated: for logs
    return path


def save_whole(name: str, content: bytes | BinaryIO, *, is_flushed: bool = True) -> None:
    """Store `content` as `name`, atomically replacing an existing file.

    `is_flushed`: it is on the disk when this returns. A file that can be made again need not be: after a loss
    of power it may be empty.
    """
    source = ContentFile(content) if isinstance(content, bytes) else File(content)
    path = _local_path_or_none(name)
    if path is None:
        default_storage.save(name, source)
        cache.drop([name])
    else:
        _write_whole(path, source, is_flushed)


def delete_folder(name: str) -> None:
    """Delete all files below the folder `name`, if there are any."""
    path = _local_path_or_none(name)
    shutil.rmtree(path or cache.path_of(name), ignore_errors=True)
    if path is not None:
        return
    folders, files = default_storage.listdir(name)
    for file in files:
        default_storage.delete(f"{name}/{file}")
    for folder in folders:
        delete_folder(f"{name}/{folder}")


def try_to_delete_folder(name: str) -> bool:
    """`delete_folder`; False, with a line in the log, if the storage is away: a periodic job tries again."""
    try:
        delete_folder(name)
    except Exception as problem:
        if not is_away(problem):
            raise
        logger.warning("%s is not deleted now: %s", name, problem)
        return False
    return True


def delete_file(name: str) -> None:
    """Delete a stored file, if it exists."""
    path = _local_path_or_none(name)
    if path is None:
        cache.drop([name])
        default_storage.delete(name)
    else:
        path.unlink(missing_ok=True)


def folder_size(name: str) -> int:
    """Total bytes of the files below the folder `name`; 0 if there are none."""
    try:
        folders, files = default_storage.listdir(name)
    except FileNotFoundError:
        return 0
    total = sum(default_storage.size(f"{name}/{file}") for file in files)
    return total + sum(folder_size(f"{name}/{folder}") for folder in folders)


def read_chunks(name: str) -> Iterator[bytes]:
    """Yield the content of a stored file in chunks of CHUNK_BYTES."""
    with default_storage.open(name) as file:
        yield from iter(lambda: file.read(CHUNK_BYTES), b"")


def _local_path_or_none(name: str) -> Path | None:
    """Path of `name` in a local storage; None for a remote one."""
    try:
        return Path(default_storage.path(name))
    except NotImplementedError:
        return None


def download(name: str, path: Path) -> None:
    """Copy a stored file to `path`, atomically. Raises FileNotFoundError if nothing is stored as `name`."""
    with default_storage.open(name) as source:
        _write_whole(path, source, is_flushed=False)


def _download(name: str) -> Path:
    cached = cache.path_of(name)
    if cached.is_file():
        cache.touch(cached)
    else:
        download(name, cached)
    return cached


def _write_whole(path: Path, source: File[bytes], is_flushed: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=f"{path.name[:40]}.", dir=parts_folder(path))
    try:
        with os.fdopen(handle, "wb") as target:
            for chunk in source.chunks():
                target.write(chunk)
            if is_flushed:
                target.flush()
                os.fsync(target.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)  # somebody may have deleted the folder meanwhile
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
