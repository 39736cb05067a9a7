"""Files of the default storage: atomic writes, local paths, deletion with their folder."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, default_storage

from exeml_site.lib import storage


class FarStorage(FileSystemStorage):
    """A storage without local paths, as S3."""

    def path(self, name: str) -> str:
        raise NotImplementedError

    def _save(self, name: str, content):
        full = Path(self.location) / name
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content.read())
        return name

    def _open(self, name: str, mode: str = "rb"):
        return File(open(Path(self.location) / name, mode))

    def exists(self, name: str) -> bool:
        return False  # saving replaces an existing file, as S3 does

    def listdir(self, path: str):
        entries = list((Path(self.location) / path).iterdir())
        return [entry.name for entry in entries if entry.is_dir()], [
            entry.name for entry in entries if entry.is_file()
        ]

    def delete(self, name: str) -> None:
        (Path(self.location) / name).unlink()


@pytest.fixture(autouse=True)
def near(settings, tmp_path: Path) -> None:
    settings.WORK_DIR = tmp_path / "work"
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": tmp_path / "files"},
        }
    }


@pytest.fixture
def far(settings, tmp_path: Path) -> None:
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "tests.exeml_site.lib.test_storage.FarStorage",
            "OPTIONS": {"location": tmp_path / "far"},
        }
    }


def test_a_saved_file_is_read_from_its_local_path() -> None:
    storage.save_whole("datasets/1/V001.manifest", b"one")

    assert storage.local_path("datasets/1/V001.manifest").read_bytes() == b"one"
    assert default_storage.open("datasets/1/V001.manifest").read() == b"one"


def test_saving_again_takes_the_place_and_leaves_no_parts(tmp_path: Path) -> None:
    storage.save_whole("a/b.txt", b"old")
    storage.save_whole("a/b.txt", io.BytesIO(b"new"))

    assert [path.name for path in (tmp_path / "files/a").iterdir()] == ["b.txt"]
    assert storage.local_path("a/b.txt").read_bytes() == b"new"


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, *args):
            raise OSError("disk gone")

    storage.save_whole("a/b.txt", b"old")
    with pytest.raises(OSError, match="disk gone"):
        storage.save_whole("a/b.txt", Broken(b"new"))

    assert [path.name for path in (tmp_path / "files/a").iterdir()] == ["b.txt"]
    assert storage.local_path("a/b.txt").read_bytes() == b"old"


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"Nothing is stored as a/b\.txt"):
        storage.local_path("a/b.txt")


def test_a_path_outside_the_storage_is_refused() -> None:
    from django.core.exceptions import SuspiciousFileOperation

    with pytest.raises(SuspiciousFileOperation):
        storage.save_whole("../outside", b"x")


def test_deleting_a_folder_takes_everything_below_it() -> None:
    storage.save_whole("training/7/bundle/model.onnx", b"x")
    storage.save_whole("training/8/bundle/model.onnx", b"y")

    storage.delete_folder("training/7")
    storage.delete_folder("training/7")

    assert not default_storage.exists("training/7/bundle/model.onnx")
    assert default_storage.exists("training/8/bundle/model.onnx")


def test_a_remote_file_is_fetched_once(far: None, tmp_path: Path) -> None:
    storage.save_whole("images/1/x.png", b"pixels")

    path = storage.local_path("images/1/x.png")
    (tmp_path / "far/images/1/x.png").unlink()

    assert path.is_relative_to(tmp_path / "work/cache")
    assert storage.local_path("images/1/x.png").read_bytes() == b"pixels"


def test_writing_over_a_remote_file_forgets_the_fetched_one(far: None) -> None:
    storage.save_whole("a/b.txt", b"old")
    storage.local_path("a/b.txt")

    storage.save_whole("a/b.txt", b"new")

    assert storage.local_path("a/b.txt").read_bytes() == b"new"


def test_a_missing_remote_file_leaves_nothing_in_the_cache(far: None, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        storage.local_path("images/1/x.png")

    assert not (tmp_path / "work/cache/images/1/x.png").exists()


def test_deleting_a_remote_folder_takes_everything_below_it(far: None, tmp_path: Path) -> None:
    storage.save_whole("training/7/bundle/model.onnx", b"x")
    storage.local_path("training/7/bundle/model.onnx")

    storage.delete_folder("training/7")

    assert not (tmp_path / "far/training/7/bundle/model.onnx").exists()
    assert not (tmp_path / "work/cache/training/7").exists()
