"""Locks the data folder and binds the port before anything starts."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from pathlib import Path
from typing import IO

from django.conf import settings


class CannotStart(Exception):
    """`up` cannot start; the text is a sentence for the person at the terminal."""


PORT_WAIT_S = 8.0
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


def disk_is_full(folder: Path) -> str:
    return (
        f"The disk of the data folder {folder} is full. Free some space, or choose another with EXEML_DATA."
    )


def claim_folder(folder: Path) -> IO[str]:
    """Lock the data folder for this process, as long as the returned file is open.

    Raises CannotStart if the folder is not writable or another `up` holds the lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = open(folder / "up.lock", "a+")  # noqa: SIM115 (held until the process ends)
    except OSError as error:
        raise CannotStart(_cannot_write(folder, error)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise CannotStart(
            f"exeml already runs on the data folder {folder} (process {_holder(lock)}). "
            "End it there with Ctrl-C, or choose another folder with EXEML_DATA."
        ) from error
    try:
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
    except OSError as error:
        raise CannotStart(_cannot_write(folder, error)) from error
    return lock


def _cannot_write(folder: Path, error: OSError) -> str:
    if error.errno in DISK_IS_FULL:
        return disk_is_full(folder)
    return f"The data folder {folder} cannot be written ({error.strerror}). Choose another with EXEML_DATA."


def _holder(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read().strip() or "unknown"


def parse_port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise CannotStart(f"PORT must be a whole number from 1 to 65535, not “{text}”.")
    return int(text)


def claim_port(host: str, port: int) -> socket.socket:
    """A socket that listens on `host`:`port`. The web server inherits it, so no other program takes the port.

    The web processes of a supervisor that was killed keep the port for some seconds, so it is tried again for
    PORT_WAIT_S, and EXEML_DRAIN_S longer. Raises CannotStart if the port cannot be bound.
    """
    end = time.monotonic() + PORT_WAIT_S + settings.DRAIN_S
    while True:
        try:
            return _listen(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                raise CannotStart(_port_problem(host, port, error)) from error
        time.sleep(0.2)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit this option. Without it a response body waits 40 ms for the ACK of its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def _port_problem(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is in use by another program. Choose another one: PORT={port % 65535 + 1} make run"
        )
    if error.errno == errno.EACCES:
        return f"Port {port} needs administrator rights. Choose one above 1023 with PORT."
    reason = f"Cannot listen on {host}, port {port} ({error.strerror})."
    return f"{reason} EXEML_BIND must be an address of this machine."
