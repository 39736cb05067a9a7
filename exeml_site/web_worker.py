"""gunicorn's worker for the web server: waitress reads requests and sends answers, threads answer them.

An event loop reads each request to its end, then gives it to a thread; what the thread answers waits in a
buffer until the client takes it. A slow connection costs memory, not a thread. gunicorn starts, watches and
replaces the processes. benchmarks/slow_connections.py compares this worker with other servers.

A process that is stopped cuts nothing off. For EXEML_DRAIN_S it goes on, while `/readyz` says 503 and every
answer ends its connection, so that a load balancer turns to another machine. Then it takes no new connection
and ends what is under way (benchmarks/rolling_upgrade.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import select
import shutil
import socket
import struct
import tempfile
import termios
import time
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from gunicorn.workers.base import Worker
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

HEAD_TIMEOUT_S = 15.0  # for the head of a request; also the life of an idle connection
WINDOW_S = 30.0  # in which a body or an answer must move on by WINDOW_S × MIN_BYTES_PER_S
MIN_BYTES_PER_S = 500  # as in Apache's mod_reqtimeout
MAX_CONNECTIONS = 4000  # of one process
FILES_PER_CONNECTION = 3  # socket, spooled body, spooled answer
MAX_HEAD_BYTES = 64 * 1024
POLL_INTERVAL_S = 0.5
UNUSED_S = 2.0  # for the first byte of a connection that was taken just before the end
LEAVING_S = 2.0  # what a process needs to end, of the time that gunicorn gives it
RECEIVED_BYTES = 64 * 1024  # at once, of an upload
RESERVED_BYTES = 1 << 30  # of the disk on which bodies wait, or a twentieth of a small one
TOO_SLOW_BODY = json.dumps(  # as the API's errors (training.serving.call_request); browsers show it, too
    {
        "error_code": "BODY_TOO_SLOW",
        "error_msg": "The request did not come in time.",
        "hint": f"Send the head within {HEAD_TIMEOUT_S:.0f} s and the body without long pauses.",
    }
).encode()
DRAINING = b'{"status": "draining"}\n'
NO_ROOM = b"HTTP/1.1 507 Insufficient Storage\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(TOO_SLOW_BODY), TOO_SLOW_BODY)
)


def _is_disk_full() -> bool:
    """Whether bodies must leave the rest of the disk to the database and the files of the product."""
    disk = shutil.disk_usage(tempfile.gettempdir())
    return disk.free < min(RESERVED_BYTES, disk.total // 20)


class TimedChannel(HTTPChannel):  # type: ignore[misc]  # waitress and gunicorn have no types
    """A connection with deadlines: a head must come in time, bodies and answers must move on."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._phase, self._since, self._moved, self._bytes_sent = ("head", 0), time.monotonic(), 0, 0
        super().__init__(*arguments, **options)

    def send(self, data: bytes, do_close: bool = True) -> int:
        sent: int = super().send(data, do_close=do_close)
        self._bytes_sent += sent
        return sent

    def is_late(self, now: float) -> bool:
        """Whether the client keeps this connection waiting for too long. Called every second."""
        name, moved = self._progress()
        phase = (name, 0 if name == "answer" else self._bytes_sent)  # an answer in between begins another one
        is_moving = moved - self._moved >= WINDOW_S * MIN_BYTES_PER_S
        if phase != self._phase or name == "work" or is_moving:
            self._phase, self._since, self._moved = phase, now, moved
        return now - self._since > (WINDOW_S if name in ("body", "answer") else HEAD_TIMEOUT_S)

    def service(self) -> None:
        """Called by a thread. The answers of a process that drains are the last of their connections."""
        if self.server.is_draining:
            for request in self.requests:
                request.headers["CONNECTION"] = "close"
        super().service()

    def is_under_way(self, now: float) -> bool:
        """Whether a call has begun here, or is about to: a client may have sent it already."""
        name, _ = self._progress()
        is_unused = name == "idle" and not self._bytes_sent
        return now - self._since < UNUSED_S if is_unused else name != "idle"

    def give_up(self, answer: bytes) -> None:
        """Close the connection, after an answer to a client that has begun a request.

        A reader that stands still leaves no room to write, for which waitress would wait before it closes.
        """
        if self._phase[0] == "answer":
            with contextlib.suppress(OSError):
                # What the kernel holds for the client is dropped.
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.handle_close()
            return
        if self._phase[0] in ("head", "body") and self.request is not None:
            with contextlib.suppress(OSError):
                self.socket.send(answer)
        self.will_close = True

    @property
    def body_bytes(self) -> int:
        """Bytes of an unfinished body that lie on the disk."""
        return self.request.body_bytes_received if self.request is not None and not self.requests else 0

    def _progress(self) -> tuple[str, int]:
        """What the connection waits for, and the bytes that its body or its answers have moved."""
        request = self.request
        if self.total_outbufs_len:
            return "answer", self._bytes_sent - self._unacknowledged()
        if self.requests:
            return "work", 0
        if request is not None and request.headers_finished:
            return "body", request.body_bytes_received
        return ("head" if request is not None else "idle"), 0

    def _unacknowledged(self) -> int:
        """Bytes that the kernel holds for the client: it takes new ones in large steps only."""
        try:
            return int(struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))[0])
        except (OSError, ValueError):  # closed meanwhile
            return 0


class TimedServer(TcpWSGIServer):  # type: ignore[misc]
    channel_class = TimedChannel
    is_draining = False

    def maintenance(self, now: float) -> None:
        moment, channels = time.monotonic(), list(self.active_channels.values())
        for channel in channels:
            if channel.is_late(moment):
                channel.give_up(TOO_SLOW)
        largest = max(channels, key=lambda channel: channel.body_bytes, default=None)
        if largest is not None and largest.body_bytes > self.adj.inbuf_overflow and _is_disk_full():
            largest.give_up(NO_ROOM)

    def stop_accepting(self, sockets: dict[int, Any]) -> None:
        """Take the connections that wait, and let new ones be refused."""
        waiting = select.poll()
        waiting.register(self.socket, select.POLLIN)
        while waiting.poll(0) and len(self.active_channels) < self.adj.connection_limit:
            self.handle_accept()
        self.accepting = False
        self.del_channel(sockets)
        self.socket.close()

    @property
    def is_busy(self) -> bool:
        now = time.monotonic()
        return any(channel.is_under_way(now) for channel in list(self.active_channels.values()))


class BufferingWorker(Worker):  # type: ignore[misc]
    """A process with one event loop and `--threads` threads."""

    def run(self) -> None:
        sockets: dict[int, Any] = {}
        threads = ThreadedTaskDispatcher()
        threads.set_thread_count(self.cfg.threads)
        servers = [self._server(listener.sock, sockets, threads) for listener in self.sockets]
        while self.alive and self.ppid == os.getppid():
            self._poll(sockets)
        self._drain(servers, sockets)
        threads.shutdown(timeout=1)

    def _drain(self, servers: list[TimedServer], sockets: dict[int, Any]) -> None:
        began = time.monotonic()
        for server in servers:
            server.is_draining = True
        while time.monotonic() - began < settings.DRAIN_S and self.ppid == os.getppid():
            self._poll(sockets)
        for server in servers:
            server.stop_accepting(sockets)
        end = began + self.cfg.graceful_timeout - LEAVING_S
        while time.monotonic() < end and any(server.is_busy for server in servers):
            self._poll(sockets)

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.alive or environ["PATH_INFO"].rstrip("/") != "/readyz":
            return self.wsgi(environ, start_response)  # type: ignore[no-any-return]
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(DRAINING)))]
        start_response("503 Service Unavailable", headers)
        return [DRAINING]

    def _poll(self, sockets: dict[int, Any]) -> None:
        self.notify()
        wasyncore.poll2(POLL_INTERVAL_S, sockets)

    def _server(self, listener: Any, sockets: dict[int, Any], threads: ThreadedTaskDispatcher) -> TimedServer:
        options = Adjustments(
            sockets=[listener],
            url_prefix=settings.PATH_PREFIX,  # taken from addresses; what a proxy has taken already stays so
            threads=self.cfg.threads,
            ident=None,
            connection_limit=_connection_limit(),
            cleanup_interval=1,
            recv_bytes=RECEIVED_BYTES,
            max_request_header_size=MAX_HEAD_BYTES,
            max_request_body_size=settings.MAX_REQUEST_BYTES,
            clear_untrusted_proxy_headers=False,  # settings decide which proxies are trusted
            log_socket_errors=False,
        )
        kind = (listener.family, listener.type, listener.proto, listener.getsockname())
        return TimedServer(
            self._answer, sockets, True, listener, threads, options, sockinfo=kind, bind_socket=False
        )


def _connection_limit() -> int:
    """MAX_CONNECTIONS, or fewer where the process may not open enough files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS * FILES_PER_CONNECTION
    files = wanted if most == resource.RLIM_INFINITY else min(most, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return files // FILES_PER_CONNECTION
