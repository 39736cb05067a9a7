"""Batches of a service: many images predicted by a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from exeml.core.calls import Call, Steps, fetch, get, post, send
from exeml.core.modes import M, operation
from exeml.core.resource import Record, Resource, wait_steps

POLL_S = 1.0


class Batch(Resource[M]):
    """A batch, with its progress."""

    _wanted = ("Completed",)
    _ended = ("Failed", "Cancelled")
    id: int
    name: str = ""
    status: str = ""
    problem: str = ""
    image_count: int | None = None
    done_count: int = 0
    failed_count: int = 0
    accuracy: float | None = None

    @property
    def _path(self) -> str:
        return f"{self._parent}/batches/{self.id}"

    @property
    def _reason(self) -> str:
        return self.problem

    @operation
    def refresh(self) -> Steps[Batch[M]]:
        """Read it again."""
        self._update((yield from fetch(get(self._path))))
        return self

    @operation
    def wait(
        self,
        on_progress: Callable[[Batch[M]], None] | None = None,
        *,
        timeout_s: float | None = None,
        poll_s: float = POLL_S,
    ) -> Steps[Batch[M]]:
        """Return when it is Completed. Raises NotCompleted, NotEnded."""
        return (yield from wait_steps(self, on_progress, timeout_s, poll_s))

    @operation
    def cancel(self) -> Steps[Batch[M]]:
        """End it; the results so far stay."""
        self._update((yield from fetch(post(f"{self._path}/cancel", repeats_safely=True))))
        return self

    @operation
    def download(self, target: str | Path) -> Steps[Path]:
        """Write the results: a table for a name that ends in .csv, or else the archive with the manifest."""
        path = Path(target)
        name = "results.csv" if path.suffix.lower() == ".csv" else "results.zip"
        yield from send(Call("GET", f"{self._path}/{name}", target=path, timeout_s=600))
        return path

    @operation
    def report(self) -> Steps[Record]:
        """How many answers are right, where the labels of the images are known."""
        return Record.model_validate((yield from fetch(get(f"{self._path}/report"))))

    @operation
    def delete(self) -> Steps[None]:
        yield from send(Call("DELETE", self._path))
