"""Temporary files of this program: where they are, and how those that a kill left behind are deleted.

Programs that `up` starts have TMPDIR in the data folder; parts of stored files lie beside the files, so that
they can be renamed. `up` deletes those of a killed run when it starts, a periodic job those of yesterday.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

from django.conf import settings

PARTS_FOLDER = ".parts"
MAX_AGE_S = 24 * 60 * 60


def parts_folder(path: Path) -> Path:
    """The folder for the unfinished file of `path`, on the same file system."""
    for root in _roots():
        if path.is_relative_to(root):
            folder = root / PARTS_FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            return folder
    return path.parent


def sweep(max_age_s: float = MAX_AGE_S) -> int:
    """Delete temporary files that nobody has changed for `max_age_s`; return how many."""
    deleted, newest = 0, time.time() - max_age_s
    for folder in (Path(settings.TEMPORARY_DIR), *(root / PARTS_FOLDER for root in _roots())):
        for path in folder.glob("*"):
            with contextlib.suppress(OSError):  # another process deleted it
                if path.lstat().st_mtime > newest:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
                deleted += 1
    return deleted


def _roots() -> tuple[Path, ...]:
    return Path(settings.FILES_DIR), Path(settings.WORK_DIR)
