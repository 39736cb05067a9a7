"""Imports that go on in a worker of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exeml.core.calls import Steps, fetch, get, post
from exeml.core.modes import M, operation
from exeml.core.resource import Resource, wait_steps

POLL_S = 1.0
COMPLETED, REVIEW = "Completed", "Review"
ENDED = (COMPLETED, "Failed", "Cancelled")


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
        return (
            yield from wait_steps(
                self,
                ENDED,
                wanted=(COMPLETED, REVIEW),
                on_progress=on_progress,
                timeout_s=timeout_s,
                poll_s=poll_s,
            )
        )

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
