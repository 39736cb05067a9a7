"""Files in the default storage: atomic writes, local paths, deletion, for local folders and S3 alike."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage

from exeml_site.lib.temporary_files import parts_folder

CHUNK_BYTES = 1 << 16


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
        _cache_path(name).unlink(missing_ok=True)
    else:
        _write_whole(path, source, is_flushed)


def delete_folder(name: str) -> None:
    """Delete all files below the folder `name`, if there are any."""
    path = _local_path_or_none(name)
    shutil.rmtree(path or _cache_path(name), ignore_errors=True)
    if path is not None:
        return
    folders, files = default_storage.listdir(name)
    for file in files:
        default_storage.delete(f"{name}/{file}")
    for folder in folders:
        delete_folder(f"{name}/{folder}")


def delete_file(name: str) -> None:
    """Delete a stored file, if it exists."""
    path = _local_path_or_none(name)
    if path is None:
        _cache_path(name).unlink(missing_ok=True)
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


def _cache_path(name: str) -> Path:
    return Path(settings.WORK_DIR) / "cache" / name


def _download(name: str) -> Path:
    cached = _cache_path(name)
    if not cached.is_file():
        with default_storage.open(name) as source:
            _write_whole(cached, source)
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
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
