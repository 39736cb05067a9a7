"""The archive of backups and project files: what is written is read again, and nothing else is accepted."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

from exeml_site.lib.errors import Refused
from projects.backup.archive import ArchiveReader, ArchiveWriter, BadArchive, written_whole

CONTENT = {
    "files/one.jpg": b"one" * 1000,
    "files/ü ber/zwei.txt": b"",
    "rows/a.b/000001.jsonl.gz": b"x" * 512,
}


def written(content: dict[str, bytes] = CONTENT) -> bytes:
    file = io.BytesIO()
    archive = ArchiveWriter(file, {"format": "test"})
    for name, value in content.items():
        archive.add_bytes(name, value)
    archive.end({"files": len(content)})
    return file.getvalue()


def read(content: bytes) -> dict[str, bytes]:
    archive = ArchiveReader(io.BytesIO(content))
    assert archive.check()["files"] == len(CONTENT)
    return {member.name: archive.open(member).read() for member in archive.members()}


def test_an_archive_gives_back_what_was_written_and_is_a_tar_file() -> None:
    content = written()
    members = read(content)
    assert {name: members[name] for name in CONTENT} == CONTENT
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert tar.getnames()[:2] == ["head.json", "files/one.jpg"]


def test_every_changed_byte_of_a_file_is_found_and_named() -> None:
    content = bytearray(written())
    content[content.index(b"oneone") + 50] ^= 1
    with pytest.raises(BadArchive, match=r"the content of files/one\.jpg does not fit its sha256"):
        ArchiveReader(io.BytesIO(bytes(content))).check()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_an_archive_that_was_cut_off_is_refused(share: float) -> None:
    content = written()
    with pytest.raises(BadArchive, match="damaged"):
        ArchiveReader(io.BytesIO(content[: int(len(content) * share)])).check()


def test_a_member_that_was_taken_out_is_missed() -> None:
    full, content = written(), written({name: CONTENT[name] for name in list(CONTENT)[1:]})
    manifest = full.index(b"manifest.jsonl")
    with pytest.raises(BadArchive, match="damaged"):
        ArchiveReader(io.BytesIO(content[: content.index(b"manifest.jsonl")] + full[manifest:])).check()


def hostile(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> bytes:
    header = tarfile.TarInfo(name)
    header.type, header.size = kind, size
    head = written()[: 2 * tarfile.BLOCKSIZE]
    return head + header.tobuf(tarfile.USTAR_FORMAT) + bytes(4 * tarfile.BLOCKSIZE)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/../../b", "a//b", "a/%2e%2e/b", "..%2fb", "a\\b", "a%00b", "%2fetc"]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(BadArchive, match="leads out of the archive"):
        list(ArchiveReader(io.BytesIO(hostile(name))).members())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.XHDTYPE])
def test_links_devices_and_extensions_are_refused(kind: bytes) -> None:
    with pytest.raises(BadArchive, match="more than plain files"):
        list(ArchiveReader(io.BytesIO(hostile("a", kind))).members())


def test_a_size_beyond_the_end_is_refused_before_anything_is_read() -> None:
    with pytest.raises(BadArchive, match="its end is missing"):
        list(ArchiveReader(io.BytesIO(hostile("a", size=8**11 - 1))).members())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(2000), b"hello" * 300, bytes(2048)])
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(BadArchive, match="not an archive of exeml"):
        ArchiveReader(io.BytesIO(content))


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.tar"
    with suppress(ZeroDivisionError), written_whole(target) as file:
        file.write(b"half")
        assert not target.exists()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with written_whole(target) as file:
        file.write(b"whole")
    assert target.read_bytes() == b"whole" and target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused, match="exists already"), written_whole(target):
        pass
    assert target.read_bytes() == b"whole"
