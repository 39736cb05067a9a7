"""A TCP proxy before a server that can refuse connections, or accept them and answer nothing."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from enum import Enum
from typing import Any

CHUNK_BYTES = 1 << 16


class Mode(Enum):
    PASS = "pass"
    REFUSE = "refuse"  # nobody listens, and open connections are reset
    HANG = "hang"  # connections are accepted and stay open, and no byte passes


class FaultProxy:
    """`with FaultProxy(5432) as proxy:` listens on 127.0.0.1:`proxy.port` and forwards to the target port."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._call(self._listen())
        self._call(self._set(Mode.PASS))
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._set(Mode.REFUSE))
        self._loop.call_soon_threadsafe(self._loop.stop)

    def set(self, mode: Mode) -> None:
        self._call(self._set(mode))

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _set(self, mode: Mode) -> None:
        if mode is Mode.REFUSE:
            if self._server is not None:
                self._server.close()
                self._server = None
            for writer in list(self._writers):
                writer.transport.abort()
        elif self._server is None:
            await self._listen()
        if mode is Mode.PASS:
            self._open.set()
        else:
            self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._open.wait()
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(target_writer)
            try:
                await asyncio.gather(self._copy(reader, target_writer), self._copy(target_reader, writer))
            finally:
                self._writers.discard(target_writer)
                target_writer.close()
        except OSError:
            pass  # the server is away, or one side has closed
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
