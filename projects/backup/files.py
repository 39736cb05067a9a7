"""The stored files of an installation, for an archive.

Originals of images are those that rows name: a file whose row is gone is not wanted. Everything else is what
lies in the storage. Files never change under their name, so those of the time after the rows fit them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import IO, Any, cast

from django.conf import settings
from django.core.files.storage import default_storage

from exeml_site.lib.files.temporary_files import PARTS_FOLDER
from projects.backup.archive import ArchiveWriter
from projects.models import Image

FILES_FOLDER = "files"
ORIGINALS = "images"
READ_AHEAD = 8  # files of a remote storage, each in memory up to the limit of the storage


def names_of_images(alias: str) -> Iterator[str]:
    """The originals that the rows name."""
    fields = ("pk", "project_id", "sha256", "format")
    images = Image.objects.using(alias).order_by("pk").only(*fields)
    for image in images.iterator(chunk_size=2000):
        yield image.file_name


def other_names(folder: str = "") -> Iterator[str]:
    """All stored files but the originals of images."""
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    prefix = f"{folder}/" if folder else ""
    for name in sorted(files):
        yield f"{prefix}{name}"
    for name in sorted(folders):
        if name and (folder or name not in (ORIGINALS, PARTS_FOLDER)):
            yield from other_names(f"{prefix}{name}")


def add_files(archive: ArchiveWriter, names: Iterable[str]) -> tuple[int, int, list[str]]:
    """Add stored files: how many, their bytes, and the names of those that are not there any more."""
    count, size, vanished = 0, 0, []
    for name, opened in _opened(names):
        if opened is None:
            vanished.append(name)
            continue
        file, bytes_of_file = opened
        with file:
            archive.add(f"{FILES_FOLDER}/{name}", bytes_of_file, file)
        count, size = count + 1, size + bytes_of_file
    return count, size, vanished


def add_named(archive: ArchiveWriter, names: Iterable[tuple[str, str]]) -> tuple[int, int, list[str]]:
    """Add stored files under other names, as `add_files` does."""
    count, size, vanished = 0, 0, []
    for name, member in names:
        opened = _open(name)
        if opened is None:
            vanished.append(name)
            continue
        with opened[0] as file:
            archive.add(f"{FILES_FOLDER}/{member}", opened[1], file)
        count, size = count + 1, size + opened[1]
    return count, size, vanished


def _opened(names: Iterable[str]) -> Iterator[tuple[str, tuple[IO[bytes], int] | None]]:
    """The files in order; a remote storage reads some ahead."""
    if not settings.STORAGE_URL:
        for name in names:
            yield name, _open(name)
        return
    remaining = iter(names)
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        ahead: list[tuple[str, Future[Any]]] = [
            (name, pool.submit(_open, name)) for name in islice(remaining, READ_AHEAD)
        ]
        while ahead:
            name, future = ahead.pop(0)
            for following in islice(remaining, 1):
                ahead.append((following, pool.submit(_open, following)))
            yield name, future.result()


def _open(name: str) -> tuple[IO[bytes], int] | None:
    """The open file and its size; None if it is gone. A file that is replaced meanwhile stays the old one."""
    try:
        file = cast(IO[bytes], default_storage.open(name).file)
        size = file.seek(0, 2)
        file.seek(0)
    except FileNotFoundError:
        return None
    return file, size
