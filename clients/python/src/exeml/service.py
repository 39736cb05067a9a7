"""Services: deployed versions that predict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from exeml.batch import Batch
from exeml.core.calls import Call, FilePart, Pages, Steps, Together, Work, create, fetch, get, post, send
from exeml.core.modes import M, listing, operation
from exeml.core.pictures import Picture, encoded
from exeml.core.resource import Record, Resource, wait_steps
from exeml.errors import NotCompleted
from exeml.evaluation import AnswerSettings
from exeml.records import Prediction

RUNNING = "Running"
PICTURES_AT_ONCE, CALLS_AT_ONCE = 16, 3
POLL_S = 1.0


class CollectedCall(Resource[M]):
    """An image that a service kept with its answer. `verdict`: right, wrong, or None."""

    id: str
    at: datetime | None = None
    version_number: int | None = None
    predicted_labels: list[str] = Field(default_factory=list)
    scores: dict[str, float] = Field(default_factory=dict)
    confidence: float | None = None
    is_known: bool | None = None
    verdict: str | None = None
    correct_labels: list[str] = Field(default_factory=list)
    image_id: int | None = None
    dismissed_at: datetime | None = None

    @property
    def _path(self) -> str:
        return f"{self._parent}/collected/{self.id}"

    @operation
    def refresh(self) -> Steps[CollectedCall[M]]:
        """Read it again."""
        self._update((yield from fetch(get(self._path))))
        return self

    @operation
    def content(self) -> Steps[bytes]:
        """The image as it was sent."""
        return (yield from send(get(f"{self._path}/file"))).content

    @operation
    def thumbnail(self) -> Steps[bytes]:
        """A small picture of it, in WebP."""
        return (yield from send(get(f"{self._path}/thumbnail"))).content


class Service(Resource[M]):
    """A version behind an address. `token`: its first one, in the answer to `deploy` alone."""

    _wanted = (RUNNING,)
    _ended = ("Stopped", "Failed")
    id: str
    name: str = ""
    status: str = ""
    failure_cause: str = ""
    url: str = ""
    version_number: int | None = None
    next_version_number: int | None = None
    canary_version_number: int | None = None
    canary_percent: int = 0
    auto_stop_hours: int | None = None
    token: str | None = None

    @property
    def _path(self) -> str:
        return f"{self._parent}/services/{self.id}"

    @property
    def _reason(self) -> str:
        return self.failure_cause

    @property
    def _has_arrived(self) -> bool:
        return super()._has_arrived and self.next_version_number is None

    @operation
    def refresh(self) -> Steps[Service[M]]:
        """Read it again."""
        self._update((yield from fetch(get(self._path))))
        return self

    @operation
    def wait(self, *, timeout_s: float = 600, poll_s: float = POLL_S) -> Steps[Service[M]]:
        """Return when it is Running and has loaded the version that it was given last.

        Raises NotCompleted if it failed or stopped or could not load that version, NotEnded after the time.
        """
        given = self.next_version_number
        yield from wait_steps(self, None, timeout_s, poll_s)
        if given not in (None, self.version_number, self.canary_version_number):
            events = yield from fetch(get(f"{self._path}/events", limit=1))
            raise NotCompleted(events["items"][0]["message"])
        return self

    @operation
    def predict(self, picture: Picture) -> Steps[Prediction]:
        """The labels of one picture: a path, bytes, a PIL image or an array."""
        return (yield from self._predicted([picture]))[0]

    @operation
    def predict_many(self, pictures: Iterable[Picture]) -> Steps[list[Prediction]]:
        """The labels of many, in their order; several calls run at a time."""
        waiting = list(pictures)
        answers: dict[int, list[Prediction]] = {}

        def numbered(start: int) -> Steps[tuple[int, list[Prediction]]]:
            return start, (yield from self._predicted(waiting[start : start + PICTURES_AT_ONCE]))

        def store(answer: tuple[int, list[Prediction]]) -> None:
            answers[answer[0]] = answer[1]

        starts = range(0, len(waiting), PICTURES_AT_ONCE)
        yield Together((numbered(start) for start in starts), CALLS_AT_ONCE, store)
        return [prediction for start in starts for prediction in answers[start]]

    def _predicted(self, pictures: Sequence[Picture]) -> Steps[list[Prediction]]:
        def parts() -> list[FilePart]:
            return [FilePart(name, content, "images") for name, content in map(encoded, pictures)]

        files = yield Work(parts)
        call = Call("POST", f"{self._path}/predict", files=files, repeats_safely=True)
        answer = yield from fetch(call)
        rows = answer.get("results", [answer])
        return [Prediction.model_validate(row) for row in rows]

    # --- Its state ---

    @operation
    def stop(self) -> Steps[Service[M]]:
        """Stop answering."""
        return (yield from self._act("stop"))

    @operation
    def start(self) -> Steps[Service[M]]:
        """Answer again."""
        return (yield from self._act("start"))

    @operation
    def change_version(self, version: Any) -> Steps[Service[M]]:
        """Put another version behind the same address; until `wait` returns, the current one may answer."""
        return (yield from self._act("change-version", version_number=_number(version)))

    @operation
    def share(self, version: Any, percent: int) -> Steps[Service[M]]:
        """Give another version, a canary, so many percent of the calls; 0: as a shadow."""
        return (yield from self._act("share", version_number=_number(version), percent=percent))

    @operation
    def roll_back(self) -> Steps[Service[M]]:
        """Return to the version before."""
        self._update((yield from fetch(post(f"{self._path}/roll-back"))))
        return self

    def _act(self, action: str, **values: Any) -> Steps[Service[M]]:
        # Each names the state that is wished: a second one finds it there.
        call = post(f"{self._path}/{action}", values or None, repeats_safely=True)
        self._update((yield from fetch(call)))
        return self

    @operation
    def delete(self) -> Steps[None]:
        yield from send(Call("DELETE", self._path))

    # --- Calls and what became of them ---

    @operation
    def monitoring(self, /, **options: Any) -> Steps[Record]:
        """Calls, failures, latency and labels of a time, by version."""
        return Record.model_validate((yield from fetch(get(f"{self._path}/monitoring", **options))))

    @operation
    def feedback(
        self,
        prediction: Prediction | CollectedCall[Any] | str,
        *,
        is_right: bool,
        correct_labels: Sequence[str] = (),
    ) -> Steps[Record]:
        """Say whether a collected answer was right."""
        request_id = prediction.request_id if isinstance(prediction, Prediction) else _key(prediction)
        body: dict[str, Any] = {"request_id": request_id, "is_right": is_right}
        if correct_labels:
            body["correct_labels"] = list(correct_labels)
        call = post(f"{self._path}/feedback", body, repeats_safely=True)
        return Record.model_validate((yield from fetch(call)))

    @listing
    def collected_calls(self, limit: int | None = None) -> Pages[CollectedCall[M]]:
        """The calls to review, as on the page: wrong answers first, then unknown images, right ones last."""
        return Pages(get(f"{self._path}/collected"), partial(self._make, CollectedCall), limit)

    @operation
    def add_collected(self, calls: Iterable[CollectedCall[Any] | str]) -> Steps[Record]:
        """Add at most 500 images to Label Data, with the labels of their feedback."""
        call = create(f"{self._path}/collected/add", {"call_ids": list(map(_key, calls))}, timeout_s=600)
        return Record.model_validate((yield from fetch(call)))

    @operation
    def dismiss_collected(self, calls: Iterable[CollectedCall[Any] | str]) -> Steps[Record]:
        """Leave at most 500 calls out of the review."""
        body = {"call_ids": list(map(_key, calls))}
        call = post(f"{self._path}/collected/dismiss", body, repeats_safely=True)
        return Record.model_validate((yield from fetch(call)))

    # --- How its versions answer ---

    @listing
    def answer_settings(self) -> Pages[AnswerSettings]:
        """The limits of each version that answers in it."""
        return Pages(get(f"{self._path}/answer-settings"), AnswerSettings.model_validate)

    @operation
    def set_answer_settings(self, version: Any, /, **settings: Any) -> Steps[AnswerSettings]:
        """Let a version answer in it by these limits; see `Version.set_answer_settings`."""
        number = _number(version)
        call = Call("PUT", f"{self._path}/answer-settings/{number}", body=settings, repeats_safely=True)
        return AnswerSettings.model_validate((yield from fetch(call)))

    @operation
    def reset_answer_settings(self, version: Any) -> Steps[AnswerSettings]:
        """Let a version answer in it by the limits that are stored with the version."""
        call = Call("DELETE", f"{self._path}/answer-settings/{_number(version)}")
        return AnswerSettings.model_validate((yield from fetch(call)))

    # --- Tokens and batches ---

    @operation
    def create_token(self, name: str) -> Steps[Record]:
        """A token for programs that only predict; its plain text is in this answer alone."""
        return Record.model_validate((yield from fetch(create(f"{self._path}/tokens", {"name": name}))))

    @listing
    def tokens(self) -> Pages[Record]:
        """Its tokens, without their plain text."""
        return Pages(get(f"{self._path}/tokens"), Record.model_validate)

    @operation
    def start_batch(self, *files: str | Path, address: str = "", selection: str = "") -> Steps[Batch[M]]:
        """Predict many images in a worker: an archive, a manifest or table, with its archive or without.

        Instead of files `address`, a folder of the server, or `selection`, images of the project.
        """
        form = {"address": address, "selection": selection}
        parts = [FilePart(Path(file).name, Path(file)) for file in files]
        call = create(f"{self._path}/batches", form=form, files=parts, timeout_s=3600)
        return self._make(Batch, (yield from fetch(call)))

    @listing
    def batches(self) -> Pages[Batch[M]]:
        """Its batches, the newest first."""
        return Pages(get(f"{self._path}/batches"), partial(self._make, Batch))


def deploy_steps(project: str, number: int, options: dict[str, Any]) -> Steps[Any]:
    """The row of the new service, with its first token."""
    body = {"version_number": number, **options}
    answer = yield from fetch(create(f"{project}/services", body))
    return {**answer["service"], "token": answer.get("token")}


def _number(version: Any) -> int:
    return int(getattr(version, "number", version))


def _key(call: CollectedCall[Any] | str) -> str:
    return call if isinstance(call, str) else call.id
