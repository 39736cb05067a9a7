"""Transactions of SQLite queue for a file lock."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError
from django.db.utils import ConnectionHandler

HOLD = """
import fcntl, os, sys, time
line = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(line, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def connections(tmp_path: Path, django_db_blocker: Any) -> Iterator[ConnectionHandler]:
    """Each thread has a connection of its own to an empty database."""
    options = {"transaction_mode": "IMMEDIATE", "timeout": 0, "init_command": "PRAGMA journal_mode=WAL;"}
    name = str(tmp_path / "line.sqlite3")
    handler = ConnectionHandler(
        {"default": {"ENGINE": "exeml_site.sqlite3", "NAME": name, "OPTIONS": options}}
    )
    with django_db_blocker.unblock():
        with handler["default"].cursor() as cursor:
            cursor.execute("CREATE TABLE actions (by INTEGER)")
        yield handler
        handler.close_all()


@contextmanager
def transaction(connection: Any) -> Iterator[Any]:
    """As `atomic` begins and ends one."""
    connection.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    try:
        with connection.cursor() as cursor:
            yield cursor
    except BaseException:
        connection.rollback()
        raise
    else:
        connection.commit()
    finally:
        connection.set_autocommit(True)


def write(connections: ConnectionHandler, by: int) -> None:
    with transaction(connections["default"]) as cursor:
        cursor.execute("INSERT INTO actions VALUES (%s)", [by])


def in_thread(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def count(connections: ConnectionHandler) -> int:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM actions")
        return int(cursor.fetchone()[0])


def test_many_write_at_once_and_none_is_turned_away(connections: ConnectionHandler) -> None:
    """SQLite's own timeout is 0 here: without the line all but one would hear that it is locked."""
    problems: list[Exception] = []

    def work(by: int) -> None:
        try:
            for _ in range(20):
                write(connections, by)
        except Exception as problem:
            problems.append(problem)
        finally:
            connections["default"].close()

    threads = [in_thread(lambda by=by: work(by)) for by in range(8)]
    for thread in threads:
        thread.join(60)
    assert not problems and count(connections) == 160


def test_who_comes_second_waits_for_the_first(connections: ConnectionHandler) -> None:
    done = threading.Event()

    def second() -> None:
        write(connections, 2)
        connections["default"].close()
        done.set()

    with transaction(connections["default"]) as cursor:
        cursor.execute("INSERT INTO actions VALUES (1)")
        in_thread(second)
        assert not done.wait(0.3)
    assert done.wait(30) and count(connections) == 2


def test_a_action_that_fails_leaves_the_line(connections: ConnectionHandler) -> None:
    with pytest.raises(DatabaseError), transaction(connections["default"]) as cursor:
        cursor.execute("INSERT INTO nowhere VALUES (1)")
    begun = connections["default"]
    begun.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    begun.close()  # a connection that is lost within a transaction
    done = in_thread(lambda: (write(connections, 1), connections["default"].close()))
    done.join(30)
    assert not done.is_alive() and count(connections) == 1


def test_a_killed_process_leaves_the_line(connections: ConnectionHandler) -> None:
    name = connections["default"].settings_dict["NAME"]
    with subprocess.Popen([sys.executable, "-c", HOLD, f"{name}-line"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        waiting = in_thread(lambda: (write(connections, 1), connections["default"].close()))
        waiting.join(0.3)
        assert waiting.is_alive()
        holder.send_signal(signal.SIGKILL)
        waiting.join(30)
    assert not waiting.is_alive() and count(connections) == 1
