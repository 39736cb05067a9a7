"""An S3 server of moto behind a proxy that refuses connections, or answers nothing, as a test wishes."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Literal

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "exeml"
Mode = Literal["pass", "refuse", "hang"]
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class S3Server:
    """`mode` holds for new requests and for open connections. `refuses`: a rule by the head of a request."""

    def __init__(self) -> None:
        self.mode: Mode = "pass"
        self.refuses: Callable[[bytes], bool] = lambda head: False
        self._moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._moto.start()
        self._target = self._moto.get_host_and_port()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.client = client
        self.make_bucket()

    def make_bucket(self) -> None:
        """Make the bucket if it is missing: moto has one state in a process, and its mocks clear it."""
        self.client.create_bucket(Bucket=BUCKET)

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/files?endpoint={self.endpoint}&region=us-east-1"

    def names(self, prefix: str = "") -> list[str]:
        """The names of the stored files."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"files/{prefix}")
        return [each["Key"].removeprefix("files/") for page in pages for each in page.get("Contents", ())]

    def close(self) -> None:
        self._listener.close()
        self._moto.stop()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mode == "refuse":
                client.close()
                continue
            server = socket.create_connection(self._target)
            for source, target in ((client, server), (server, client)):
                threading.Thread(
                    target=self._pump, args=(source, target, source is client), daemon=True
                ).start()

    def _pump(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        with contextlib.suppress(OSError), source, target:
            while content := source.recv(1 << 16):
                if self.mode == "refuse" or (is_request and self.refuses(content[:500])):
                    return
                if self.mode == "pass":
                    target.sendall(content)


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    os.environ.update(KEYS)
    server = S3Server()
    try:
        yield server
    finally:
        server.close()
