"""The data folder before anything starts: private, with room, without what a killed run left behind."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from exeml_site.lib.files import temporary_files
from exeml_site.supervisor.console import Log
from exeml_site.supervisor.preflight import CannotStart

FOR_OTHERS = 0o077
MIN_FREE_MB = 64
# What versions before this one left beside stored files when they were killed.
FORMER_PART = re.compile(r"\.[^/]{1,40}\.[a-z0-9_]{8}")
# Everything that the program makes in the data folder; other people's files there stay as they are.
OURS = ("exeml.sqlite3*", "files", "redis", "sample-made", "secret-key*", "static", "tmp", "up.lock", "work")
WRITING_S = 10.0  # a file that was changed so lately may be a living process's


def prepare_folder(folder: Path, log: Log) -> None:
    """Raises CannotStart if the disk is full."""
    check_room(folder)
    make_private(folder, log)
    temporary = Path(settings.TEMPORARY_DIR)
    temporary.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(temporary)  # of the programs that `up` starts
    remove_leftovers(folder)


def check_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_MB << 20:
        raise CannotStart(
            f"The disk of the data folder {folder} has only {free >> 20} MB left. "
            f"Free at least {MIN_FREE_MB} MB, or choose another folder with EXEML_DATA."
        )


def make_private(folder: Path, log: Log) -> None:
    """Take the rights of other users on the data folder away, and on what an earlier version wrote there.

    New files are private by the umask of `manage.py`. The folder itself comes last, so that a run that was
    interrupted is repeated.
    """
    state = folder.stat()
    if not state.st_mode & FOR_OTHERS:
        return
    if state.st_uid != os.getuid() or state.st_mode & stat.S_ISVTX:
        log(f"Other users of this machine may read {folder}: it is not this user's own folder.")
        return
    log("Making the data folder private.")
    for path in _own_files(folder):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and FORMER_PART.fullmatch(path.name):
            path.unlink()
        elif not stat.S_ISLNK(mode) and mode & FOR_OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~FOR_OTHERS)
    folder.chmod(stat.S_IMODE(state.st_mode) & ~FOR_OTHERS)


def _own_files(folder: Path) -> Iterator[Path]:
    for pattern in OURS:
        for path in folder.glob(pattern):
            yield path
            if path.is_dir() and not path.is_symlink():
                for parent, folders, files in os.walk(path):
                    yield from (Path(parent, name) for name in (*folders, *files))


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of a run that was killed.

    A job of that run may still be at work for some seconds; what it is writing stays.
    """
    temporary_files.sweep(max_age_s=WRITING_S)
    for path in folder.glob("secret-key-*"):
        path.unlink(missing_ok=True)
    for short in Path(tempfile.gettempdir()).glob("exeml-*/redis.sock"):
        if short.parent.stat().st_uid == os.getuid() and not _answers(short):
            shutil.rmtree(short.parent, ignore_errors=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True
