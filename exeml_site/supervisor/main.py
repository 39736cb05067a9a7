"""The supervisor's life: Redis, then the programs, until a signal; then all of them ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from exeml_site.supervisor.console import print_line
from exeml_site.supervisor.processes import Program, SupervisedProcess
from exeml_site.supervisor.redis_server import RedisEndpoint, wait_for_redis

ANSWER_TIMEOUT_S = 60.0


async def run(
    redis: Program | None,
    place: RedisEndpoint,
    programs: list[Program],
    folder: Path,
    listener: socket.socket | None,
    when_ready: Callable[[], None],
) -> None:
    """Keep everything running until SIGINT, SIGTERM or SIGHUP. Raises Refusal where no Redis answers."""
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
    """Set by the first signal; a second one is for the impatient and kills."""
    ending = asyncio.Event()

    def on_signal() -> None:
        if ending.is_set():
            print_line("up", "Killing what has not ended yet.")
            for process in processes:
                process.kill()
        else:
            print_line("up", "Ending. A running training goes on at the next start.")
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return ending


async def _start(
    processes: list[SupervisedProcess],
    is_redis_ours: bool,
    place: RedisEndpoint,
    listener: socket.socket | None,
    when_ready: Callable[[], None],
) -> None:
    if is_redis_ours:
        processes[0].start()
    await wait_for_redis(place.url)
    for process in processes[1:] if is_redis_ours else processes:
        process.start()
    if listener is not None:
        await _wait_for_answer(listener)
    when_ready()
    await asyncio.Event().wait()


async def _wait_for_answer(listener: socket.socket) -> None:
    """Return when the web server answers a request, whatever it says, or when patience is over."""
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
    """Web and cron first, so that nothing new begins; then the workers; Redis, which they need, last."""
    if listener is not None:
        listener.close()
    order = {"web": 0, "cron": 0, "training": 1, "labeling": 1, "imports": 1, "short": 1, "redis": 2}
    for rank in sorted(set(order.values())):
        await asyncio.gather(*(process.end() for process in processes if order[process.program.name] == rank))
