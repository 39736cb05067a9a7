"""Two ways to carry out steps (`exeml.core.calls`): blocking and with asyncio. No rule of the API is here."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import IO, Any, TypeVar

import httpx

from exeml.core.calls import Answer, Call, Pages, Pause, Step, Steps, Together, Work, fetch
from exeml.errors import ConnectionFailed

T = TypeVar("T")
ROOT = "/api/v1"
CONNECT_TIMEOUT_S = 15.0
CHUNK_BYTES = 1 << 20
GRACE_S = 5.0  # for the calls that are under way where another failed, or somebody pressed Ctrl-C


def _user_agent() -> str:
    try:
        return f"exeml-client/{version('exeml-client')}"
    except PackageNotFoundError:  # run from its source
        return "exeml-client"


def _options(url: str, token: str) -> dict[str, Any]:
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json",
        "User-Agent": _user_agent(),
    }
    return {
        "base_url": url.rstrip("/") + ROOT,
        "headers": headers,
        "follow_redirects": False,  # the token goes to no other server
        "verify": url.startswith("https:"),  # without TLS no certificates are loaded
    }


@contextmanager
def _request_of(call: Call) -> Iterator[dict[str, Any]]:
    """The arguments of httpx's `stream`; files are open within the block."""
    with ExitStack() as opened:
        request: dict[str, Any] = {
            "method": call.method,
            "url": call.path,
            "params": _texts(call.params),
            "timeout": httpx.Timeout(call.timeout_s, connect=CONNECT_TIMEOUT_S),
        }
        if call.idempotency_key:
            request["headers"] = {"Idempotency-Key": call.idempotency_key}
        if call.body is not None:
            request["json"] = call.body
        if call.files:
            request["files"] = [
                (part.field, (part.name, _opened(part.content, opened))) for part in call.files
            ]
            request["data"] = _texts(call.form)
        yield request


def _opened(content: bytes | Path, opened: ExitStack) -> bytes | IO[bytes]:
    return content if isinstance(content, bytes) else opened.enter_context(content.open("rb"))


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """As a query or a form has them: yes and no as the pages send them, lists as repeated fields."""

    def text(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [text(item) for item in value]
        return ("true" if value else "false") if isinstance(value, bool) else str(value)

    return {name: text(value) for name, value in values.items() if value is not None}


@contextmanager
def _as_failure() -> Iterator[None]:
    """httpx's exceptions as ours: whether the server may have got the call decides on repeating it."""
    try:
        yield
    except httpx.TransportError as error:
        was_sent = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
        reason = str(error) or type(error).__name__
        raise ConnectionFailed(f"The server does not answer: {reason}", was_sent=was_sent) from error
    except httpx.InvalidURL as error:
        raise ConnectionFailed(f"The URL is not valid: {error}", was_sent=False) from error


def _answer(response: httpx.Response, content: bytes) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, content, response.reason_phrase)


@contextmanager
def _whole_file(target: Path) -> Iterator[IO[bytes]]:
    """A file that is there as a whole or not at all.

    Until then it has a name that nobody can guess: others may write into the folder, too.
    """
    part = target.with_name(f".exeml-{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


class BlockingTransport:
    """Carries out steps in the calling thread, those of `Together` in a few more."""

    def __init__(self, url: str, token: str) -> None:
        self.client = httpx.Client(**_options(url, token))

    def run(self, steps: Steps[T]) -> T:
        resume: Callable[[], Step] = partial(next, steps)
        while True:
            try:
                step = resume()
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                outcome = self._perform(step)
            except Exception as error:  # the steps decide whether it is tried again
                resume = partial(steps.throw, error)
            else:
                resume = partial(steps.send, outcome)

    def items(self, source: Pages[T] | Steps[Pages[T]]) -> Iterator[T]:
        pages = source if isinstance(source, Pages) else self.run(source)
        call: Call | None = pages.call
        count = 0
        while call is not None:
            items, call = pages.split(self.run(fetch(call)), count)
            count += len(items)
            yield from items

    def close(self) -> None:
        self.client.close()

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Call):
            return self._send(step)
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        if isinstance(step, Work):
            return step.function()
        return self._together(step)

    def _send(self, call: Call) -> Answer:
        with _as_failure(), _request_of(call) as request, self.client.stream(**request) as response:
            if call.target is None or response.status_code != 200:
                return _answer(response, response.read())
            with _whole_file(call.target) as file:
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    file.write(chunk)
            return _answer(response, b"")

    def _together(self, step: Together) -> None:
        """In threads that do not keep the program alive: a server that hangs must not outlast Ctrl-C."""
        ended: SimpleQueue[tuple[Thread, Any, BaseException | None]] = SimpleQueue()

        def perform(part: Steps[Any]) -> None:
            try:
                ended.put((current_thread(), self.run(part), None))
            except BaseException as error:
                ended.put((current_thread(), None, error))

        parts, running = iter(step.parts), set[Thread]()
        try:
            while True:
                for part in islice(parts, step.at_once - len(running)):
                    thread = Thread(target=perform, args=(part,), name="exeml", daemon=True)
                    running.add(thread)
                    thread.start()
                if not running:
                    return
                thread, result, error = ended.get()
                running.remove(thread)
                if error is not None:
                    raise error
                step.on_end(result)
        finally:
            deadline = time.monotonic() + GRACE_S
            for thread in running:
                thread.join(max(0.0, deadline - time.monotonic()))


class AsyncTransport:
    """Carries out steps in the running asyncio loop."""

    def __init__(self, url: str, token: str) -> None:
        self.client = httpx.AsyncClient(**_options(url, token))

    async def run(self, steps: Steps[T]) -> T:
        resume: Callable[[], Step] = partial(next, steps)
        while True:
            try:
                step = resume()
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                outcome = await self._perform(step)
            except Exception as error:  # the steps decide whether it is tried again
                resume = partial(steps.throw, error)
            else:
                resume = partial(steps.send, outcome)

    async def items(self, source: Pages[T] | Steps[Pages[T]]) -> AsyncIterator[T]:
        pages = source if isinstance(source, Pages) else await self.run(source)
        call: Call | None = pages.call
        count = 0
        while call is not None:
            items, call = pages.split(await self.run(fetch(call)), count)
            count += len(items)
            for item in items:
                yield item

    async def close(self) -> None:
        await self.client.aclose()

    async def _perform(self, step: Step) -> Any:
        if isinstance(step, Call):
            return await self._send(step)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Work):
            return await asyncio.to_thread(step.function)
        return await self._together(step)

    async def _send(self, call: Call) -> Answer:
        with _as_failure(), _request_of(call) as request:
            async with self.client.stream(**request) as response:
                if call.target is None or response.status_code != 200:
                    return _answer(response, await response.aread())
                with _whole_file(call.target) as file:
                    async for chunk in response.aiter_bytes(CHUNK_BYTES):
                        await asyncio.to_thread(file.write, chunk)
                return _answer(response, b"")

    async def _together(self, step: Together) -> None:
        parts = iter(step.parts)
        running: set[asyncio.Task[Any]] = set()
        try:
            while True:
                for part in islice(parts, step.at_once - len(running)):
                    running.add(asyncio.create_task(self.run(part)))
                if not running:
                    return
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    step.on_end(task.result())
        finally:
            for task in running:
                task.cancel()
