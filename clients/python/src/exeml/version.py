"""Training versions: wait for them, read their evaluation, deploy them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from exeml.core.calls import Call, Pages, Pause, Steps, create, fetch, get, post, send
from exeml.core.modes import M, listing, operation, reading
from exeml.core.resource import Record, Resource, make, wait_steps
from exeml.errors import NotCompleted, NotEnded
from exeml.evaluation import (
    AnswerSettings,
    Candidate,
    Comparison,
    EvaluatedImage,
    LabelResult,
    Metrics,
    table_row,
)
from exeml.service import Service, deploy_steps

if TYPE_CHECKING:
    import pandas

POLL_S = 2.0
PAGE = 500


class TrainingProgress(Record):
    """What a training does now; times in seconds."""

    message: str = ""
    elapsed_s: float | None = None
    limit_s: float | None = None
    remaining_s: float | None = None
    share: float | None = None
    best_accuracy: float | None = None


class OnnxExport(Record):
    """The ONNX model of a version: making, made or failed; empty before it is asked for."""

    state: str = ""
    problem: str = ""


class Version(Resource[M]):
    """A training version; what is not known yet is None or empty."""

    _wanted = ("Completed",)
    _ended = ("Failed", "Stopped")
    number: int
    name: str = ""
    status: str = ""
    title: str = ""
    note: str = ""
    is_starred: bool = False
    dataset_version: str = ""
    max_training_hours: float | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    stop_reason: str = ""
    failure_cause: str = ""
    failure_remedy: str = ""
    model_name: str = ""
    inference_ms: float | None = None
    accuracy: float | None = None
    progress: TrainingProgress | None = None
    onnx: OnnxExport = Field(default_factory=OnnxExport)

    @property
    def _path(self) -> str:
        return f"{self._parent}/versions/{self.number}"

    @property
    def _reason(self) -> str:
        return f"{self.failure_cause} {self.failure_remedy}"

    @property
    def has_ended(self) -> bool:
        return self.status in self._wanted + self._ended

    @operation
    def refresh(self) -> Steps[Version[M]]:
        """Read it again."""
        self._update((yield from fetch(get(self._path))))
        return self

    @operation
    def wait(
        self,
        on_progress: Callable[[Version[M]], None] | None = None,
        *,
        timeout_s: float | None = None,
        poll_s: float = POLL_S,
    ) -> Steps[Version[M]]:
        """Return when the training has ended; `on_progress` gets the version after every look.

        Raises NotCompleted for a training that failed or was stopped without a model, NotEnded after
        `timeout_s`; the training then goes on.
        """
        return (yield from wait_steps(self, on_progress, timeout_s, poll_s))

    # --- The training ---

    @operation
    def stop(self) -> Steps[Version[M]]:
        """End it soon, with the best model so far."""
        self._update((yield from fetch(post(f"{self._path}/stop", repeats_safely=True))))
        return self

    @operation
    def retry(self) -> Steps[Version[M]]:
        """Train again with the same configuration and images, after Failed or Stopped."""
        self._update((yield from fetch(post(f"{self._path}/retry"))))
        return self

    @operation
    def add_time(self, more_hours: float = 1) -> Steps[Version[M]]:
        """Continue on the same images. Returns the new version."""
        values = yield from fetch(create(f"{self._path}/add-time", {"more_hours": more_hours}))
        return self._sibling(values)

    @operation
    def promote(self, candidate: Candidate | int) -> Steps[Version[M]]:
        """Make another of its `candidates()` a version. Returns the new version."""
        key = candidate if isinstance(candidate, int) else candidate.id
        values = yield from fetch(create(f"{self._path}/promote", {"candidate_id": key}))
        return self._sibling(values)

    @operation
    def change(self, /, **changes: Any) -> Steps[Version[M]]:
        """Change `title`, `note` or `is_starred`."""
        self._update((yield from fetch(Call("PATCH", self._path, body=changes))))
        return self

    @operation
    def delete(self) -> Steps[None]:
        """Delete it with its model and its evaluation."""
        yield from send(Call("DELETE", self._path))

    # --- The evaluation ---

    @reading
    def metrics(self) -> Steps[Metrics]:
        """Accuracy, recall, precision and F1, each with its 95 % interval, and what to think of them."""
        return Metrics.model_validate((yield from fetch(get(f"{self._path}/metrics"))))

    @listing
    def labels(self) -> Pages[LabelResult]:
        """Recall, precision and F1 of each label, with intervals."""
        return Pages(get(f"{self._path}/labels", limit=PAGE), LabelResult.model_validate)

    @operation
    def confusion(self) -> Steps[Record]:
        """The confusion matrix."""
        return Record.model_validate((yield from fetch(get(f"{self._path}/confusion"))))

    @listing
    def evaluated_images(self, /, limit: int | None = None, **filters: Any) -> Pages[EvaluatedImage]:
        """The validation images with their predictions; the filters are those of the tab Images.

        `outcome="wrong"`: the mistakes, the most confident first. `with_scores=True`: the scores by label.
        """
        page = PAGE if limit is None else min(PAGE, max(limit, 1))
        call = get(f"{self._path}/images", limit=page, **filters)
        return Pages(call, EvaluatedImage.model_validate, limit)

    @listing
    def candidates(self) -> Pages[Candidate]:
        """The models that the training compared, as on the leaderboard."""
        return Pages(get(f"{self._path}/candidates"), Candidate.model_validate)

    @operation
    def compare(
        self, *others: Version[Any] | int, timeout_s: float = 600, poll_s: float = POLL_S
    ) -> Steps[Comparison]:
        """Compare other Completed versions with this one, on the same images.

        A worker predicts the images that a version lacks. Raises NotEnded after the time.
        """
        numbers = [other if isinstance(other, int) else other.number for other in others]
        end = time.monotonic() + timeout_s
        while True:
            values = yield from fetch(get(f"{self._path}/compare", **{"with": numbers}))
            comparison = Comparison.model_validate(values)
            if not comparison.is_waiting:
                return comparison
            if time.monotonic() >= end:
                raise NotEnded(f"Images are still being predicted after {timeout_s:g} seconds.")
            yield Pause(poll_s)

    # --- Answer settings ---

    @operation
    def answer_settings(self) -> Steps[AnswerSettings]:
        """The limits that are stored with it; new services use them."""
        return AnswerSettings.model_validate((yield from fetch(get(f"{self._path}/answer-settings"))))

    @operation
    def set_answer_settings(self, /, **settings: Any) -> Steps[AnswerSettings]:
        """Store `thresholds` by label, `min_confidence` and `min_familiarity`.

        What is left out is the model's own.
        """
        call = Call("PUT", f"{self._path}/answer-settings", body=settings, repeats_safely=True)
        return AnswerSettings.model_validate((yield from fetch(call)))

    @operation
    def answer_figures(self, /, **settings: Any) -> Steps[Record]:
        """What the evaluation is under such settings, which are not stored."""
        call = post(f"{self._path}/answer-settings/figures", settings, repeats_safely=True)
        return Record.model_validate((yield from fetch(call)))

    # --- Tables and the model ---

    @operation
    def to_dataframe(self) -> Steps[pandas.DataFrame]:
        """The validation images as a table, with a column for the score of each label. Needs pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("This needs pandas: pip install 'exeml-client[pandas]'") from error
        rows: list[Any] = []
        call: Call | None = get(f"{self._path}/images", limit=1000, with_scores=True)
        while call is not None:
            items, call = Pages(call, table_row).split((yield from fetch(call)), 0)
            rows += items
        return pandas.DataFrame(rows)

    @operation
    def deploy(self, /, **options: Any) -> Steps[Service[M]]:
        """Put it behind an address; see `Project.deploy`."""
        values = yield from deploy_steps(self._parent, self.number, options)
        return make(Service, values, self._transport, self._parent)

    @operation
    def download_archive(self, target: str | Path) -> Steps[Path]:
        """Write the archive with the model, the evaluation and its charts."""
        return (yield from self._download("archive", target))

    @operation
    def download_onnx(self, target: str | Path, *, poll_s: float = POLL_S) -> Steps[Path]:
        """Write the zip with the ONNX model, which runs elsewhere. A worker makes it first.

        Raises NotCompleted if it cannot be made.
        """
        self._update((yield from fetch(post(f"{self._path}/onnx", repeats_safely=True))))
        while self.onnx.state == "making":
            yield Pause(poll_s)
            self._update((yield from fetch(get(self._path))))
        if self.onnx.state == "failed":
            raise NotCompleted(f"The ONNX model of {self.name} cannot be made. {self.onnx.problem}".strip())
        return (yield from self._download("onnx", target))

    def _download(self, name: str, target: str | Path) -> Steps[Path]:
        path = Path(target)
        yield from send(Call("GET", f"{self._path}/{name}", target=path, timeout_s=600))
        return path

    def _sibling(self, values: Any) -> Version[M]:
        return make(Version, values, self._transport, self._parent)
