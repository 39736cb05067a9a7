"""The checkpoint of a running training, copied to a remote storage as it grows.

When a machine dies, another one goes on from there. Pixels are not copied: images are read again for them.
What that costs is measured in docs/engine.md.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType, TracebackType

from django.core.files.storage import default_storage

from exeml_site.lib import storage
from training.models import TrainingVersion

logger = logging.getLogger(__name__)

CLOCK = "clock.json"
# Pixels of the images, and answers to images without labels, of which another machine may read others.
LEFT_OUT = ("pixels*.npy", "unlabeled_*", "teacher_*", "*.part*")
FEATURES = "features_*"
INTERVAL_S = 10
MAX_BUSY_SHARE = 0.2  # of the time
MAX_BYTES = 1 << 30  # of one checkpoint; a file beyond is made again on the other machine
JOIN_S = 60  # longer than the storage takes to fail

Stamp = tuple[int, int]  # when a file was changed, in nanoseconds, and its bytes


class CheckpointCopy:
    """Copies the files of the checkpoint in a thread, while the fit runs inside its `with` block.

    Each file of a checkpoint is replaced as a whole, so what is in the storage is a state of the checkpoint.
    A storage that is away costs nothing but a line in the log; the copy goes on when it is back.
    """

    def __init__(
        self, version: TrainingVersion, folder: Path, restored: Mapping[str, Stamp] = MappingProxyType({})
    ) -> None:
        self.bytes, self.seconds = 0, 0.0
        self._source, self._target = folder / "checkpoint", version.checkpoint_folder
        self._copied: dict[str, Stamp] | None = None
        self._restored = restored
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="copy-checkpoint", daemon=True)

    def __enter__(self) -> CheckpointCopy:
        if storage.is_remote():
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        if self.bytes:
            logger.info("%s: %d bytes in %.1f s", self._target, self.bytes, self.seconds)

    def _run(self) -> None:
        pause_s = float(INTERVAL_S)
        while not self._ended.wait(pause_s):
            began = time.monotonic()
            try:
                self.copy()
            except Exception as problem:
                logger.warning("%s is not copied now: %s", self._target, problem)
            took_s = time.monotonic() - began
            self.seconds += took_s
            pause_s = max(INTERVAL_S, took_s / MAX_BUSY_SHARE - took_s)

    def copy(self) -> None:
        """Copy what has changed, in the order of the changes, and delete what is gone."""
        if self._copied is None:
            self._copied = {**dict.fromkeys(_stored_names(self._target), (0, 0)), **self._restored}
        files = self._files()
        for name in [name for name in self._copied if name not in files]:
            storage.delete_file(f"{self._target}/{name}")
            del self._copied[name]
        for name in sorted(files, key=lambda name: (name == CLOCK, files[name])):
            if self._copied.get(name) == files[name] or self._ended.is_set():
                continue
            with (self._source / name).open("rb") as content:
                storage.save_whole(f"{self._target}/{name}", content)
            self._copied[name] = files[name]
            self.bytes += files[name][1]

    def _files(self) -> dict[str, Stamp]:
        """The files to copy, as many as fit in MAX_BYTES: features last, which are large and made quickly."""
        stamps = {
            path.name: _stamp(path)
            for path in self._source.glob("*")
            if path.is_file() and not any(fnmatch(path.name, pattern) for pattern in LEFT_OUT)
        }
        files: dict[str, Stamp] = {}
        total = 0
        for name in sorted(stamps, key=lambda name: (fnmatch(name, FEATURES), stamps[name])):
            total += stamps[name][1]
            if total <= MAX_BYTES:
                files[name] = stamps[name]
            else:
                total -= stamps[name][1]
        return files


def restore(version: TrainingVersion, folder: Path) -> dict[str, Stamp]:
    """Download the stored checkpoint where it is further than that of this machine; gives its files."""
    if not storage.is_remote() or not (names := _stored_names(version.checkpoint_folder)):
        return {}
    checkpoint = folder / "checkpoint"
    clock = folder / "stored-clock.json"
    try:
        storage.download(f"{version.checkpoint_folder}/{CLOCK}", clock)
    except FileNotFoundError:  # the copy had only begun
        return {}
    if _used_s(clock) <= _used_s(checkpoint / CLOCK):
        return {}
    shutil.rmtree(checkpoint, ignore_errors=True)
    for name in sorted(names, key=lambda name: name == CLOCK):
        storage.download(f"{version.checkpoint_folder}/{name}", checkpoint / name)
    logger.info("training version %s goes on from the checkpoint in the storage", version.pk)
    return {name: _stamp(checkpoint / name) for name in names}


def delete(version: TrainingVersion) -> None:
    """Delete the stored checkpoint. If the storage is away, `versions.recovery` deletes it later."""
    if storage.is_remote():
        storage.try_to_delete_folder(version.checkpoint_folder)


def _stored_names(folder: str) -> list[str]:
    try:
        return list(default_storage.listdir(folder)[1])
    except FileNotFoundError:
        return []


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _used_s(clock: Path) -> float:
    from training.engine.search.time_limit import read_json

    return float((read_json(clock) or {}).get("used_s", 0))
