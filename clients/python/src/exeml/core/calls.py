"""Calls of the API and the rules for repeating them, without any input or output of their own.

What takes several calls is a generator of `Step`: it yields what is to be done and gets the result. The two
transports (`exeml.core.transports`) do it, one blocking, one async, so that every rule is written once.
"""

from __future__ import annotations

import json
import random
import re
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from exeml.errors import ConnectionFailed, FieldError, Problem

T = TypeVar("T")

ATTEMPTS = 7
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
LONGEST_RETRY_AFTER_S = 120.0
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class FilePart:
    """A file of a form: its content, or the path that it is read from."""

    name: str
    content: bytes | Path
    field: str = "files"


@dataclass(frozen=True)
class Call:
    """One request. `path` is below /api/v1; `target`: the file that the answer is written to."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    form: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[FilePart] = ()
    idempotency_key: str = ""
    repeats_safely: bool = False  # a POST that reads, or that changes nothing the second time
    target: Path | None = None
    timeout_s: float = TIMEOUT_S

    @property
    def is_repeatable(self) -> bool:
        """Whether a second one does no harm, if the first reached the server."""
        return self.method == "GET" or bool(self.idempotency_key) or self.repeats_safely


def get(path: str, **params: Any) -> Call:
    return Call("GET", path, params={name: value for name, value in params.items() if value is not None})


def path_part(text: object) -> str:
    """A name as one part of a path: no slash, dots or question mark in it lead to another address."""
    return quote(str(text), safe="").replace(".", "%2E")


def post(path: str, body: Any = None, **options: Any) -> Call:
    return Call("POST", path, body=body, **options)


def create(path: str, body: Any = None, **options: Any) -> Call:
    """A POST that creates: however often it is sent, the server makes one thing."""
    return Call("POST", path, body=body, idempotency_key=str(uuid.uuid4()), **options)


@dataclass(frozen=True)
class Answer:
    """What the server answered; `content` is empty where it was written to the call's target."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    content: bytes = b""
    reason: str = ""

    def json(self) -> Any:
        try:
            return json.loads(self.content) if self.content else None
        except ValueError as error:
            hint = "Something other than exeml answered at this address."
            raise Problem(self.status, "The answer is no JSON", hint, headers=self.headers) from error


# --- Steps ---


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """Call a function that blocks, such as one that reads files."""

    function: Callable[[], Any]


@dataclass(frozen=True)
class Together:
    """Run several, `at_once` at a time; `on_end` gets the result of each as it ends."""

    parts: Iterable[Generator[Any, Any, Any]]
    at_once: int
    on_end: Callable[[Any], None]


Step = Call | Pause | Work | Together
Steps = Generator[Step, Any, T]


@dataclass(frozen=True)
class Pages(Generic[T]):
    """A list that the server answers page by page. `limit`: items in all; None: every one."""

    call: Call
    read: Callable[[Any], T]
    limit: int | None = None

    def split(self, answer: Any, count: int) -> tuple[list[T], Call | None]:
        """The items of a page, of which `count` came before, and the call of the next page."""
        rows, cursor = (answer, None) if isinstance(answer, list) else (answer["items"], answer.get("next"))
        items = [self.read(row) for row in rows]
        if self.limit is not None and count + len(items) >= self.limit:
            return items[: self.limit - count], None
        following = replace(self.call, params={**self.call.params, "cursor": cursor}) if cursor else None
        return items, following


# --- Sending, again where that is safe ---


def send(call: Call) -> Steps[Answer]:
    """The answer to a call. Raises Problem, ConnectionFailed.

    429 is always repeated, after the time that the server names: the call was not looked at. A connection
    that broke, 502, 503 and 504 are repeated if the call does no harm when it is made twice.
    """
    for attempt in range(ATTEMPTS):
        try:
            answer: Answer = yield call
        except ConnectionFailed as failure:
            pause = _pause_after_failure(call, failure, attempt)
            if pause is None:
                raise
        else:
            if answer.status < 300:
                return answer
            problem = problem_of(answer)
            pause = _pause_after_problem(call, problem, attempt)
            if pause is None:
                raise problem
        yield Pause(pause)
    raise AssertionError("the last attempt returns or raises")


def fetch(call: Call) -> Steps[Any]:
    """The JSON of the answer."""
    return (yield from send(call)).json()


def _backoff(attempt: int) -> float:
    """Doubles each time; by chance, so that many clients do not come back together."""
    longest: float = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**attempt)
    return longest * random.uniform(0.5, 1.0)


def _pause_after_failure(call: Call, failure: ConnectionFailed, attempt: int) -> float | None:
    if attempt + 1 == ATTEMPTS or (failure.was_sent and not call.is_repeatable):
        return None
    return _backoff(attempt)


def _pause_after_problem(call: Call, problem: Problem, attempt: int) -> float | None:
    """Seconds until the next attempt; None: there is none."""
    if attempt + 1 == ATTEMPTS or not _may_repeat(call, problem):
        return None
    wished = problem.retry_after_s
    if wished is None:
        return _backoff(attempt)
    return wished if wished <= LONGEST_RETRY_AFTER_S else None


def _may_repeat(call: Call, problem: Problem) -> bool:
    if problem.status == 429:
        return True
    if problem.status == 409:  # the first call with this key still runs
        return problem.kind == "call-under-way"
    return problem.status in (502, 503, 504) and call.is_repeatable


def problem_of(answer: Answer) -> Problem:
    """The error that an answer describes, also one of a proxy that is no JSON."""
    try:
        values = json.loads(answer.content)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        detail = answer.content.decode(errors="replace").strip()[:300]
        if 300 <= answer.status < 400:
            detail = f"The server redirects to {answer.headers.get('location', '?')}. Connect to that URL."
        return Problem(answer.status, answer.reason or "Error", detail, headers=answer.headers)
    errors = [
        FieldError(str(error.get("field", "")), str(error.get("message", "")))
        for error in values.get("errors") or []
        if isinstance(error, dict)
    ]
    return Problem(
        answer.status,
        str(values.get("title") or values.get("error_msg") or answer.reason),
        str(values.get("detail") or values.get("hint") or ""),
        kind=re.split("[:/]", str(values.get("type") or values.get("error_code") or ""))[-1],
        errors=errors,
        headers=answer.headers,
    )
