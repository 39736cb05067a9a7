"""Copies of files of a remote storage on this machine, each downloaded when it is first needed.

A copy that is used is touched. Beyond EXEML_CACHE_GB those go that were not used for longest.
What a running training may still read stays: its work folder holds a mark of when it began (`hold`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

MIN_AGE_S = 15 * 60  # a copy that was used since stays: somebody may be reading it
HOLD = "cache-hold"  # in a folder below WORK_DIR


@dataclass(frozen=True)
class CachedFile:
    """A copy: its name in the storage, its bytes, and when it was last used (seconds since 1970)."""

    name: str
    size: int
    used_at: float


def folder() -> Path:
    return Path(settings.WORK_DIR) / "cache"


def path_of(name: str) -> Path:
    return folder() / name


def touch(path: Path) -> None:
    """Note that the copy is used now."""
    with contextlib.suppress(OSError):  # it was removed at this moment
        os.utime(path)


def hold(work_folder: Path) -> None:
    """Keep every copy that is used from now on, until the folder below WORK_DIR is deleted."""
    work_folder.mkdir(parents=True, exist_ok=True)
    (work_folder / HOLD).touch()


def cached_files() -> Iterator[CachedFile]:
    """All copies, in any order."""
    root = folder()
    for place, _, names in os.walk(root):
        for name in names:
            path = Path(place) / name
            with contextlib.suppress(OSError):
                status = path.stat()
                yield CachedFile(str(path.relative_to(root)), status.st_size, status.st_mtime)


def drop(names: Iterable[str]) -> int:
    """Remove these copies; return how many there were."""
    dropped = 0
    for name in names:
        with contextlib.suppress(OSError):
            path_of(name).unlink()
            dropped += 1
    return dropped


def shrink(max_bytes: int) -> int:
    """Remove the copies that were not used for longest until all fit; return the bytes removed."""
    files = sorted(cached_files(), key=lambda file: file.used_at)
    excess, removed, newest = sum(file.size for file in files) - max_bytes, 0, _held_since()
    for file in files:
        if removed >= excess or file.used_at > newest:
            break
        removed += file.size * drop([file.name])
    return removed


def _held_since() -> float:
    """Copies that were used later than this stay."""
    marks = [time.time() - MIN_AGE_S]
    for mark in Path(settings.WORK_DIR).glob(f"*/{HOLD}"):
        with contextlib.suppress(OSError):
            marks.append(mark.stat().st_mtime)
    return min(marks)
