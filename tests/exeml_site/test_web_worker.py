"""Slow connections: none occupies a thread, all end, and what moves is never cut."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.exeml_site.short_deadlines import BIG
from tests.supervisor_process import ROOT, free_port

pytestmark = pytest.mark.slow

THREADS = 4
HEAD, WINDOW = 2.0, 3.0  # as in short_deadlines


class Server:
    """One process with four threads."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.port = free_port()
        command = [
            *(sys.executable, "-m", "gunicorn", "tests.exeml_site.short_deadlines:application"),
            *(
                "--worker-class",
                "tests.exeml_site.short_deadlines.BufferingWorker",
                "--threads",
                str(THREADS),
            ),
            *("--bind", f"127.0.0.1:{self.port}", "--no-control-socket", "--log-level", "warning"),
        ]
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "exeml_site.settings",
            "EXEML_DATA": str(folder),
            "EXEML_MAX_IMPORT_GB": "1",
            **more,
        }
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment)

    def wait_until_it_answers(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                self.page()
                return
            time.sleep(0.1)
        raise TimeoutError

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def page(self) -> float:
        """Seconds that a page takes."""
        began = time.monotonic()
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        client.request("GET", "/")
        assert client.getresponse().read() == b"0 None"
        client.close()
        return time.monotonic() - began

    def has_connection_of(self, client: socket.socket) -> bool:
        """Whether a process of the server still holds its end of the client's connection."""
        port = client.getsockname()[1]
        processes = psutil.Process(self.process.pid).children(recursive=True)
        ends = [end for process in processes for end in process.net_connections("tcp4")]
        return any(end.raddr and end.raddr.port == port for end in ends)

    @contextlib.contextmanager
    def slow(self, first: bytes, connections: int) -> Iterator[list[socket.socket]]:
        """Connections that have sent `first` and nothing more."""
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.connect()) for _ in range(connections)]
            for client in clients:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.sendall(first)
            yield clients


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("web"))
    running.wait_until_it_answers()
    yield running
    running.process.terminate()
    assert running.process.wait(20) == 0


def drain(client: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(1 << 16):
            received += part
    return received


HALF_OPEN = {
    "nothing": b"",
    "head": b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: a",
    "body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc",
    "chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\nabc",
    "expectation": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
    "reader": b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("kind", HALF_OPEN)
def test_pages_are_answered_beside_slow_connections_and_those_end(server: Server, kind: str) -> None:
    with server.slow(HALF_OPEN[kind], 20 if kind == "reader" else 100) as clients:
        server.page()  # comes after the answers that the readers asked for
        assert max(server.page() for _ in range(20)) < 2
        # In the first window a reader's answer moves into the kernel's buffers.
        time.sleep((2 * WINDOW if kind == "reader" else max(HEAD, WINDOW)) + 1.5)
        assert not server.has_connection_of(clients[0])
        if kind != "reader":  # the kernel goes on sending to a reader, slowly, what it has in its buffer
            assert (b" 408 " in drain(clients[0])) == (kind != "nothing")


@pytest.mark.parametrize("kind", ["head", "body"])
def test_a_byte_a_second_does_not_lengthen_the_deadline(server: Server, kind: str) -> None:
    with server.connect() as client:
        client.sendall(HALF_OPEN[kind])
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 20:
                client.sendall(b"a")
                client.settimeout(0.5)
                with contextlib.suppress(TimeoutError):
                    if not client.recv(1000):
                        break
        assert time.monotonic() - began < max(HEAD, WINDOW) + 4


def test_a_slow_body_that_moves_is_read_to_its_end(server: Server) -> None:
    size, step = 12_000, 1000
    with server.connect() as client:
        client.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size // step):
            client.sendall(b"x" * step)
            time.sleep(0.6)  # in all more than twice WINDOW
        assert client.recv(1000).endswith(f"{size} {size}".encode())


def test_a_slow_reader_that_moves_gets_everything(server: Server) -> None:
    with server.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received, began = 0, time.monotonic()
        while part := client.recv(4096):
            received += len(part)
            if time.monotonic() - began < 2.5 * WINDOW:
                time.sleep(0.2)
    assert received > BIG


def test_a_body_in_chunks_arrives_with_its_length(server: Server) -> None:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    client.request(
        "POST", "/", iter([b"abc", b"defg"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    assert client.getresponse().read() == b"7 7"


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000000\r\n\r\n")
        assert b" 413 " in client.recv(1000)


def test_bodies_leave_the_rest_of_the_disk_to_the_product(tmp_path: Path, server: Server) -> None:
    """The folder for bodies lies on a small disk here, which a body of 8 MB fills to 19 twentieths."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        other = Server(tmp_path / "data", TMPDIR=str(disk))
        other.wait_until_it_answers()
        with other.connect() as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8100000\r\n\r\n")
            client.sendall(b"x" * 8_000_000)
            assert b" 507 " in drain(client)
        other.page()
        other.process.terminate()
        other.process.wait(20)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_connection_is_kept_while_requests_follow_each_other(server: Server) -> None:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    end = time.monotonic() + 2 * HEAD
    while time.monotonic() < end:
        client.request("GET", "/")
        assert client.getresponse().read() == b"0 None"
        time.sleep(0.05)


def test_work_longer_than_every_deadline_is_not_cut(server: Server) -> None:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    client.request("GET", "/work")
    assert client.getresponse().read() == b"0 None"


def test_a_server_that_is_stopped_reads_the_rest_of_a_body_and_takes_waiting_connections(
    tmp_path: Path, server: Server
) -> None:
    other = Server(tmp_path)
    other.wait_until_it_answers()
    with other.connect() as unused, other.connect() as half:
        half.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        time.sleep(0.4)
        other.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        with pytest.raises(ConnectionRefusedError):
            other.connect()
        unused.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        half.sendall(b"def")
        answers = [drain(unused), drain(half)]
    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers] == [b"0 None", b"6 6"]
    assert all(b"Connection: close" in answer for answer in answers)
    assert other.process.wait(20) == 0


def test_a_server_that_drains_takes_calls_and_says_that_it_is_not_ready(
    tmp_path: Path, server: Server
) -> None:
    other = Server(tmp_path, EXEML_DRAIN_S="3")
    other.wait_until_it_answers()

    def ask(path: str) -> tuple[int, str | None]:
        client = http.client.HTTPConnection("127.0.0.1", other.port, timeout=10)
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.headers["Connection"]

    assert ask("/readyz") == (200, None)
    other.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert [ask("/readyz"), ask("/")] == [(503, "close"), (200, "close")]
    assert other.process.wait(20) == 0


def test_a_server_that_is_stopped_answers_what_it_has_begun(tmp_path: Path, server: Server) -> None:
    other = Server(tmp_path)
    other.wait_until_it_answers()
    answers: list[bytes] = []

    def ask() -> None:
        client = http.client.HTTPConnection("127.0.0.1", other.port, timeout=10)
        client.request("GET", "/work")
        answers.append(client.getresponse().read())

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.4)
    other.process.send_signal(signal.SIGTERM)
    asking.join()
    assert answers == [b"0 None"]
    assert other.process.wait(20) == 0
