"""What several machines share, as servers of this one: PostgreSQL, Redis and S3, which can be restarted."""

from __future__ import annotations

import logging
import os
import pwd
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import boto3
from moto.server import ThreadedMotoServer

from exeml_site.supervisor.redis_server import server_path
from tests.supervisor_process import free_port

BUCKET = "exeml"
KEYS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}  # of the S3


class Server(AbstractContextManager["Server"]):
    """`with Server(…) as server:` runs it. What it holds outlives `stop` and `start`."""

    def __init__(self) -> None:
        self.port = free_port()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """The setting that names this server, or a proxy before it at `port`."""
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError


class Postgres(Server):
    """A PostgreSQL with the settings of Debian, below `folder`; its database is empty at first."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder / "postgresql"
        self.programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self.user: dict[str, Any] = {}
        if not os.getuid():  # PostgreSQL refuses to run as root
            account = pwd.getpwnam("postgres")
            self.user = {"user": account.pw_uid, "group": account.pw_gid}
            folder.chmod(0o711)

    def url_at(self, port: int) -> str:
        return f"postgresql://exeml@127.0.0.1:{port}/postgres"

    def start(self) -> None:
        if not self.folder.exists():
            self.folder.mkdir()
            if self.user:
                os.chown(self.folder, self.user["user"], self.user["group"])
            self._run("initdb", "-U", "exeml", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder}"
        self._run("pg_ctl", "-s", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-s", "-w", "-m", "fast", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL, **self.user)


class Redis(Server):
    """A Redis with its data below `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder / "redis"

    def url_at(self, port: int) -> str:
        return f"redis://127.0.0.1:{port}/0"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        options = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "appendonly": "yes"}
        command = [
            str(server_path()),
            *(word for name, value in options.items() for word in (f"--{name}", value)),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class Storage(Server):
    """An S3 of moto with an empty bucket, in the memory of this process. Its keys are KEYS."""

    def __init__(self) -> None:
        super().__init__()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request

    def __enter__(self) -> Self:
        super().__enter__()
        keys = {name.lower(): value for name, value in KEYS.items()}
        endpoint = f"http://127.0.0.1:{self.port}"
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
        client.create_bucket(Bucket=BUCKET)
        return self

    def url_at(self, port: int) -> str:
        return f"s3://{BUCKET}?endpoint=http://127.0.0.1:{port}&region=us-east-1"

    def start(self) -> None:
        self.moto = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self.moto.start()

    def stop(self) -> None:
        self.moto.stop()
