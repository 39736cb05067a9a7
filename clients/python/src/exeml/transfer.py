"""Imports that go on in a worker of the server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from exeml.calls import Pause, Steps, fetch, get, post
from exeml.errors import NotCompleted, NotEnded
from exeml.modes import M, operation
from exeml.resource import Resource

POLL_S = 1.0
COMPLETED, REVIEW = "Completed", "Review"
ENDED = (COMPLETED, "Failed", "Canceled", "Cancelled", "Stopped")


class Transfer(Resource[M]):
    """An import, its progress and its report."""

    id: int
    status: str = ""
    message: str = ""
    report: Any = None

    @property
    def _path(self) -> str:
        return f"{self._parent}/imports/{self.id}"

    @operation
    def refresh(self) -> Steps[Transfer[M]]:
        """Read it again."""
        self._update((yield from fetch(get(self._path))))
        return self

    @operation
    def wait(
        self,
        on_progress: Callable[[Transfer[M]], None] | None = None,
        *,
        timeout_s: float | None = None,
        poll_s: float = POLL_S,
    ) -> Steps[Transfer[M]]:
        """Return when it has ended, or waits for `begin`. Raises NotCompleted, NotEnded."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._update((yield from fetch(get(self._path))))
            if on_progress is not None:
                on_progress(self)
            if self.status in (COMPLETED, REVIEW):
                return self
            if self.status in ENDED:
                raise NotCompleted(f"The import is {self.status}. {self.message}".strip())
            if end is not None and time.monotonic() >= end:
                raise NotEnded(f"The import is {self.status} after {timeout_s:g} seconds.")
            yield Pause(poll_s)

    @operation
    def begin(self, /, **options: Any) -> Steps[Transfer[M]]:
        """Import what was found, after it was looked at."""
        self._update((yield from fetch(post(f"{self._path}/begin", options))))
        return self

    @operation
    def cancel(self) -> Steps[Transfer[M]]:
        self._update((yield from fetch(post(f"{self._path}/cancel"))))
        return self

    @operation
    def take_back(self) -> Steps[Transfer[M]]:
        """Move its images to the bin, and undo the labels that it gave to others."""
        self._update((yield from fetch(post(f"{self._path}/take-back"))))
        return self
