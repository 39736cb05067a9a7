"""Django's SQLite with a line for those who write.

SQLite lets one connection write at a time. The others ask again after sleeps that grow to a tenth of a
second, and whoever asks at the right moment is next: where many write, some wait for seconds while the
database stands idle between two sleeps. Here a transaction first waits for a lock of the operating system
beside the database, which wakes the next one at once, across threads and processes; it ends with the process
that holds it, however that ends.
"""

from __future__ import annotations

import fcntl
import os

from django.db.backends.sqlite3 import base


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
