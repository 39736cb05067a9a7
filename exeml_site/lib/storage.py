"""Files in the default storage: written whole, read as local files wherever they lie."""

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

CHUNK_BYTES = 1 << 16


def local_path(name: str) -> Path:
    """The stored file as a path of this machine; from a remote storage it is fetched once into the cache.

    Raises FileNotFoundError where nothing is stored under `name`.
    """
    here = _local_path_or_none(name)
    if here is None:
        return _download(name)
    if not here.is_file():
        raise FileNotFoundError(f"Nothing is stored as {name}.")
    return here


def save_whole(name: str, content: bytes | BinaryIO) -> None:
    """Store `content` as `name`, taking the place of what was there; nobody ever sees a half of it."""
    source = ContentFile(content) if isinstance(content, bytes) else File(content)
    here = _local_path_or_none(name)
    if here is None:
        default_storage.save(name, source)
        _cache_path(name).unlink(missing_ok=True)
    else:
        _write_whole(here, source)


def delete_folder(name: str) -> None:
    """Remove everything stored below the folder `name`; nothing there is fine."""
    here = _local_path_or_none(name)
    shutil.rmtree(here or _cache_path(name), ignore_errors=True)
    if here is not None:
        return
    folders, files = default_storage.listdir(name)
    for file in files:
        default_storage.delete(f"{name}/{file}")
    for folder in folders:
        delete_folder(f"{name}/{folder}")


def delete_file(name: str) -> None:
    """Remove one stored file; nothing there is fine."""
    here = _local_path_or_none(name)
    if here is None:
        _cache_path(name).unlink(missing_ok=True)
        default_storage.delete(name)
    else:
        here.unlink(missing_ok=True)


def folder_size(name: str) -> int:
    """Bytes of everything stored below the folder `name`; 0 where there is none."""
    try:
        folders, found = default_storage.listdir(name)
    except FileNotFoundError:
        return 0
    total = sum(default_storage.size(f"{name}/{file}") for file in found)
    return total + sum(folder_size(f"{name}/{folder}") for folder in folders)


def read_chunks(name: str) -> Iterator[bytes]:
    """The stored file, READ_BYTES at a time."""
    with default_storage.open(name) as file:
        yield from iter(lambda: file.read(CHUNK_BYTES), b"")


def _local_path_or_none(name: str) -> Path | None:
    """Where a local storage keeps `name`; None for a remote one."""
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


def _write_whole(path: Path, source: File[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as target:
            for chunk in source.chunks():
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        os.chmod(part, 0o640)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
