"""Main loop of the supervisor: starts Redis, then the programs, waits for a signal, stops all in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from exeml_site.supervisor.console import print_line
from exeml_site.supervisor.processes import Program, SupervisedProcess
from exeml_site.supervisor.redis_server import RedisEndpoint, startup_hint, wait_for_redis

ANSWER_TIMEOUT_S = 60.0


async def run(
    redis: Program | None,
    place: RedisEndpoint,
    programs: list[Program],
    folder: Path,
    listener: socket.socket | None,
    when_ready: Callable[[], None],
) -> None:
    """Run all programs until SIGINT, SIGTERM or SIGHUP. Raises CannotStart if no Redis answers."""
    processes = [SupervisedProcess(program, folder) for program in ([redis] if redis else []) + programs]
    ending = _stop_on_signal(processes)
    work = asyncio.create_task(_start(processes, redis is not None, place, listener, when_ready))
    stop = asyncio.create_task(ending.wait())
    await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await work
        finally:
            stop.cancel()
            await _stop_all(processes, listener)


def _stop_on_signal(processes: list[SupervisedProcess]) -> asyncio.Event:
    """The event that the first signal sets. A second signal kills all programs."""
    ending = asyncio.Event()

    def on_signal() -> None:
        if ending.is_set():
            print_line("up", "Killing the processes that have not ended yet.")
            for process in processes:
                process.kill()
        else:
            print_line("up", "Stopping. A running training continues at the next start.")
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return ending


async def _start(
    processes: list[SupervisedProcess],
    is_redis_embedded: bool,
    place: RedisEndpoint,
    listener: socket.socket | None,
    when_ready: Callable[[], None],
) -> None:
    if is_redis_embedded:
        processes[0].start()
    hint = startup_hint(settings.REDIS_SOCKET.parent) if is_redis_embedded else ""
    await wait_for_redis(place.url, hint=hint)
    for process in processes[1:] if is_redis_embedded else processes:
        process.start()
    if listener is not None:
        await _wait_for_answer(listener)
    when_ready()
    await asyncio.Event().wait()


async def _wait_for_answer(listener: socket.socket) -> None:
    """Return when the web server answers a request with any status, or after ANSWER_TIMEOUT_S."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    end = time.monotonic() + ANSWER_TIMEOUT_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(end - time.monotonic()):
                if await _request_once(host, port):
                    return
        await asyncio.sleep(0.2)
    print_line("up", f"The web server has not answered for {ANSWER_TIMEOUT_S:g} s; its lines above say why.")


async def _request_once(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET /sign-in/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return await reader.readline()
    finally:
        writer.close()


async def _stop_all(processes: list[SupervisedProcess], listener: socket.socket | None) -> None:
    """Stop web and cron first, so that no new work arrives, then the workers, then Redis, which they need."""
    if listener is not None:
        listener.close()
    order = {"web": 0, "cron": 0, "redis": 2}
    for rank in range(3):
        ranked = [process for process in processes if order.get(process.program.name, 1) == rank]
        await asyncio.gather(*(process.end() for process in ranked))
