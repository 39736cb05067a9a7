"""Names and links in archives and folders never lead out of them, whatever they are."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projects.images.decode import ImageRefused
from projects.images.upload import clean_name
from projects.transfers.file_sources import FolderSource, SourceUnreadable, ZipSource

PIECES = [
    "..",
    "../",
    "/",
    "//",
    "\\",
    "..\\",
    "C:",
    "C:\\",
    "a",
    "b.png",
    "\n",
    "\0",
    "\u202e",
    "%2e%2e/",
    "~",
    "CON",
]
NAMES = st.one_of(
    st.text(min_size=1, max_size=20), st.lists(st.sampled_from(PIECES), min_size=1).map("".join)
)
search = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return not PurePosixPath(path).is_absolute() and ".." not in parts and "\\" not in path


@search
@given(names=st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_names_in_an_archive_stay_inside(names: list[str]) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            try:
                member = zipfile.ZipInfo(name)
                if member.filename not in archive.namelist():
                    archive.writestr(member, b"x")
            except (ValueError, UnicodeEncodeError):
                return  # no archive has such a name
    try:
        source = ZipSource(file)
    except SourceUnreadable:
        return
    for member in source.files():
        assert is_inside(member.path) and "/" not in clean_name(member.path)
        assert source.read(member.path, 10) == b"x"


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(link, str(secret))
    source = ZipSource(file)
    contents = []
    for member in source.files():
        try:
            contents.append(source.read(member.path, 1000))
        except ImageRefused:
            continue
    assert b"secret" not in contents


@pytest.mark.parametrize("target", ["/etc", "..", "/etc/passwd", "../outside.png", "loop"])
def test_a_link_in_a_folder_is_not_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "outside.png").write_bytes(b"secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.png").write_bytes(b"x")
    (root / "loop").symlink_to(target)
    source = FolderSource(root)
    assert [file.path for file in source.files()] == ["a.png"]
    with pytest.raises(ImageRefused):
        source.read("loop", 1000)
