"""Imports that go on in a worker of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field

from exeml.core.calls import Pages, Steps, fetch, get, post
from exeml.core.modes import M, listing, operation
from exeml.core.resource import Record, Resource, wait_steps

POLL_S = 1.0


class Transfer(Resource[M]):
    """An import, its progress and its report."""

    _wanted = ("Completed", "Review")
    _ended = ("Failed", "Cancelled")
    id: int
    status: str = ""
    file_name: str = ""
    done_count: int = 0
    total_count: int = 0
    problem: str = ""
    counts: dict[str, int] = Field(default_factory=dict)
    refused_count: int = 0
    doubts: list[str] = Field(default_factory=list)

    @property
    def _path(self) -> str:
        return f"{self._parent}/imports/{self.id}"

    @property
    def _title(self) -> str:
        return f"The import of {self.file_name}" if self.file_name else "The import"

    @property
    def _reason(self) -> str:
        return self.problem

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
        return (yield from wait_steps(self, on_progress, timeout_s, poll_s))

    @operation
    def begin(self, /, **choices: Any) -> Steps[Transfer[M]]:
        """Import what was found, after it was looked at, with these choices of the review."""
        self._update((yield from fetch(post(f"{self._path}/begin", {"choices": choices}))))
        return self

    @operation
    def cancel(self) -> Steps[Transfer[M]]:
        """End it; what it added stays."""
        self._update((yield from fetch(post(f"{self._path}/cancel", repeats_safely=True))))
        return self

    @operation
    def take_back(self) -> Steps[int]:
        """Move its images to the bin, and undo the labels that it gave to others. Returns their number."""
        answer = yield from fetch(post(f"{self._path}/take-back"))
        return int(answer["image_count"])

    @listing
    def refused_files(self) -> Pages[Record]:
        """Every file that it refused, with the reason."""
        return Pages(get(f"{self._path}/refused", limit=500), Record.model_validate)
