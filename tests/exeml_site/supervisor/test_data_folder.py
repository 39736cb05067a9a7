"""The data folder before anything starts: private, with an intact database, with room, without leftovers."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import tempfile
import time
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError, connection
from django.db.utils import DatabaseErrorWrapper

from exeml_site.lib import storage
from exeml_site.lib.files import temporary_files
from exeml_site.supervisor import data_folder, first_start
from exeml_site.supervisor.data_folder import check_room, make_private, remove_leftovers
from exeml_site.supervisor.preflight import CannotStart, claim_folder
from tests.exeml_site.supervisor.test_up import refused_up
from tests.supervisor_process import free_port

pytestmark = pytest.mark.slow


def modes(folder: Path) -> set[str]:
    return {oct(stat.S_IMODE(path.lstat().st_mode)) for path in folder.rglob("*") if not path.is_symlink()}


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def database_of_an_installation(folder: Path) -> Path:
    """A database with some pages."""
    file = folder / "exeml.sqlite3"
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE notes (text TEXT)")
        database.executemany("INSERT INTO notes VALUES (?)", [("x" * 500,) for _ in range(400)])
    database.close()
    (folder / "files").mkdir()
    (folder / "files/a.jpg").write_bytes(b"x")
    return file


def cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def overwrite_begin(file: Path) -> None:
    file.write_bytes(b"no database" * 100)


def overwrite_middle(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[8192:65536] = b"\xff" * (65536 - 8192)
    file.write_bytes(content)


def cut_to_the_head(file: Path) -> None:
    os.truncate(file, 100)


@pytest.mark.parametrize("damage", [cut_off, empty, overwrite_begin, overwrite_middle, cut_to_the_head])
def test_a_damaged_database_is_named_in_one_sentence_and_stays_as_it_is(tmp_path: Path, damage) -> None:
    file = database_of_an_installation(tmp_path)
    damage(file)
    before = file.read_bytes()
    said = refused_up(EXEML_DATA=str(tmp_path), PORT=str(free_port()))
    assert f"The database {file} is damaged (" in said and "Put a backup in its place" in said
    assert file.read_bytes() == before


def test_a_database_that_cannot_be_opened_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "exeml.sqlite3").mkdir()
    said = refused_up(EXEML_DATA=str(tmp_path), PORT=str(free_port()))
    assert "unable to open database file" in said and "damaged" not in said


def test_a_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "MIN_FREE_MB", 1 << 40)
    with pytest.raises(CannotStart, match=r"has only \d+ MB left\. Free at least"):
        check_room(tmp_path)


def test_a_disk_that_is_full_when_the_folder_is_claimed_is_named(tmp_path: Path) -> None:
    (tmp_path / "up.lock").symlink_to("/dev/full")
    with pytest.raises(CannotStart, match=r"is full|cannot be written"):
        claim_folder(tmp_path)


def test_a_disk_that_fills_up_while_the_database_is_updated_is_named() -> None:
    small = sqlite3.connect(":memory:")
    small.execute("CREATE TABLE notes (text TEXT)")
    small.execute("PRAGMA max_page_count = 2")
    with pytest.raises(OperationalError) as full, DatabaseErrorWrapper(connection):
        small.execute("INSERT INTO notes VALUES (?)", ("x" * 100_000,))
    assert "is full. Free some space" in str(first_start._explained(full.value))


def test_an_older_data_folder_becomes_private_and_strangers_files_stay(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "files/images").mkdir(parents=True)
    for name in ("exeml.sqlite3", "exeml.sqlite3-wal", "secret-key", "files/images/a.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
        (tmp_path / name).chmod(0o644)
    (tmp_path / "files/images/.0123abc.k3f9x_2a").write_bytes(b"left behind by a kill")
    (tmp_path / "files/link").symlink_to("/etc/hosts")
    before = Path("/etc/hosts").stat().st_mode
    for path in (tmp_path, tmp_path / "files", tmp_path / "files/images"):
        path.chmod(0o755)
    make_private(tmp_path, said.append)
    assert mode(tmp_path) == mode(tmp_path / "files/images") == "0o700"
    assert mode(tmp_path / "notes.txt") == "0o644"
    (tmp_path / "notes.txt").unlink()
    assert modes(tmp_path) == {"0o600", "0o700"}
    assert not list(tmp_path.glob("files/images/.*"))
    assert Path("/etc/hosts").stat().st_mode == before
    assert len(said) == 1
    make_private(tmp_path, said.append)
    assert len(said) == 1


def test_a_folder_that_everybody_uses_is_left_alone(tmp_path: Path) -> None:
    said: list[str] = []
    tmp_path.chmod(0o1777)
    make_private(tmp_path, said.append)
    assert mode(tmp_path) == "0o1777" and "may read" in said[0]


@pytest.fixture
def folder(tmp_path: Path, settings) -> Path:
    settings.FILES_DIR, settings.WORK_DIR = tmp_path / "files", tmp_path / "work"
    settings.TEMPORARY_DIR = tmp_path / "tmp"
    options = {"location": tmp_path / "files"}
    local = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"default": local}
    return tmp_path


def test_stored_files_are_for_their_user_alone(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        storage.save_whole("images/1/a.jpg", b"x")
        default_storage.save("images/2/b.jpg", ContentFile(b"x"))
    finally:
        os.umask(before)
    assert modes(folder / "files") == {"0o600", "0o700"}


def test_what_a_killed_run_left_behind_is_deleted_and_nothing_else(folder: Path) -> None:
    storage.save_whole("images/1/a.jpg", b"kept")
    leftovers = [folder / "tmp/tmpabc.upload", folder / "tmp/unpacked/x", folder / "secret-key-77"]
    leftovers += [folder / "files/.parts/a.jpg.k3f9x_2a", folder / "work/.parts/b.onnx.k3f9x_2a"]
    for path in leftovers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    then = time.time() - 60
    for path in [*leftovers, folder / "tmp/unpacked"]:
        os.utime(path, (then, then))
    (folder / "secret-key").write_text("kept")
    in_work = folder / "files/.parts/c.jpg.k3f9x_2a"
    in_work.write_bytes(b"a job of the killed run is writing it")
    remove_leftovers(folder)
    assert [path for path in leftovers if path.exists()] == []
    assert in_work.exists()
    assert storage.local_path("images/1/a.jpg").read_bytes() == b"kept"
    assert (folder / "secret-key").exists()


def test_while_it_runs_only_old_temporary_files_are_deleted(folder: Path) -> None:
    (folder / "tmp").mkdir()
    for name, hours in (("new", 1), ("old", 25)):
        (folder / "tmp" / name).write_bytes(b"x")
        then = time.time() - hours * 3600
        os.utime(folder / "tmp" / name, (then, then))
    assert temporary_files.sweep() == 1
    assert [path.name for path in (folder / "tmp").iterdir()] == ["new"]


def test_sockets_of_killed_runs_are_deleted_and_those_of_others_stay(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        for name in ("exeml-dead", "exeml-alive"):
            Path(short, name).mkdir()
        with socket.socket(socket.AF_UNIX) as alive, socket.socket(socket.AF_UNIX) as dead:
            alive.bind(f"{short}/exeml-alive/redis.sock")
            alive.listen()
            dead.bind(f"{short}/exeml-dead/redis.sock")
            dead.close()
            remove_leftovers(folder)
            assert [path.name for path in Path(short).iterdir()] == ["exeml-alive"]
