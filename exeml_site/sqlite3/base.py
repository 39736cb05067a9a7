"""Django's SQLite with a line for those who write, and with nobody waiting for the tidying up.

SQLite lets one connection write at a time. The others ask again after sleeps that grow to a tenth of a
second, and whoever asks at the right moment is next: where many write, some wait for seconds while the
database stands idle between two sleeps. Here a transaction first waits for a lock of the operating system
beside the database, which wakes the next one at once, across threads and processes; it ends with the process
that holds it, however that ends.

What was committed stands in the write-ahead log until a checkpoint brings it into the database. SQLite does
that within a commit, which then takes ten times as long; here a thread does it soon after.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from contextlib import closing, suppress
from urllib.parse import quote

from django.db.backends.sqlite3 import base

CHECKPOINT_EVERY_S = 0.5  # at most


class DatabaseWrapper(base.DatabaseWrapper):
    """A transaction holds the line from before BEGIN IMMEDIATE until it is committed or rolled back."""

    _line: int | None = None

    def _start_transaction_under_autocommit(self) -> None:
        self._queue()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._leave()
            raise

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        self._leave()
        if not self.is_in_memory_db():
            checkpoints.soon(str(self.settings_dict["NAME"]))

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._leave()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._leave()

    def _queue(self) -> None:
        if self._line is not None or self.is_in_memory_db():
            return
        # Opened anew each time: what a forked process inherits would be the same lock.
        line = os.open(f"{self.settings_dict['NAME']}-line", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(line, fcntl.LOCK_EX)
        except BaseException:
            os.close(line)
            raise
        self._line = line

    def _leave(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            fcntl.flock(line, fcntl.LOCK_UN)
            os.close(line)


class Checkpoints:
    """A thread of this process that brings what was committed into the database; it stops nobody."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def soon(self, name: str) -> None:
        """Never fails, since what was committed stays so; without the thread SQLite makes its own in time."""
        with self._lock:
            self._names.add(name)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
                with suppress(RuntimeError):  # no more threads, or the process is ending
                    thread.start()
                    self._thread = thread
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            with self._lock:
                names, self._names = self._names, set()
            for name in names:
                self.make(name)
            time.sleep(CHECKPOINT_EVERY_S)

    def make(self, name: str) -> None:
        """What readers still look at stays in the log until the next one."""
        try:
            with closing(sqlite3.connect(f"file:{quote(name)}?mode=rw", uri=True, timeout=0)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error:  # gone, broken, or somebody else is at it: whoever asks next hears of it
            return


checkpoints = Checkpoints()
os.register_at_fork(after_in_child=checkpoints.__init__)  # type: ignore[misc]  # threads stay behind
