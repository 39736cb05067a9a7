"""Sources of files: names in archives, broken members, limits."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from projects.formats.encodings import CHOICES
from projects.images.decode import ImageRefused
from projects.transfers.file_sources import FolderSource, ZipSource
from tests.projects.formats.label_file_factories import case

CONTENT = bytes(range(256)) * 400


def archive_of(names: list[bytes], *, extra: Callable[[bytes], bytes] = lambda name: b"") -> io.BytesIO:
    """A zip whose names are these bytes, without the flag for UTF-8."""
    local, directory = b"", b""
    for name in names:
        content = b"x" + name
        fields = struct.pack(
            "<HHHHIIIHH", 0, 0, 0, 0, zlib.crc32(content), len(content), len(content), len(name), 0
        )
        more = extra(name)
        central = fields[:-2] + struct.pack("<HHHHII", len(more), 0, 0, 0, 0, len(local))
        directory += b"PK\x01\x02\x14\x00\x14\x00" + central + name + more
        local += b"PK\x03\x04\x14\x00" + fields + name + content
    end = struct.pack("<HHHHIIH", 0, 0, len(names), len(names), len(directory), len(local), 0)
    return io.BytesIO(local + directory + b"PK\x05\x06" + end)


def unicode_path(name: bytes, text: str) -> bytes:
    content = struct.pack("<BI", 1, zlib.crc32(name)) + text.encode()
    return struct.pack("<HH", 0x7075, len(content)) + content


def paths(source: Any) -> list[str]:
    return [file.path for file in source.files()]


# --- names ---


@pytest.mark.parametrize(
    ("encoding", "found", "names"),
    [
        ("utf-8", "utf-8", ["Café/é1.jpg", "Müsli/ü1.jpg"]),
        ("gb18030", "gb18030", ["数据/猫/一.jpg", "数据/狗/二.jpg"]),
        ("cp932", "cp932", ["ネコ/いち.jpg", "犬/写真.jpg", "表/ソ.jpg"]),
        ("big5", "big5", ["貓/一.jpg", "狗/圖片.jpg"]),
        ("cp949", "cp949", ["고양이/1.jpg", "개/사진.jpg"]),
        ("cp866", "cp866", ["Кошка/1.jpg", "Собака/фото.jpg"]),
        ("cp1251", "cp1251", ["Кошка/1.jpg", "Собака/фото.jpg"]),
        ("cp437", "cp437", ["Café/1.jpg", "Müsli/2.jpg", "señal/ñu.jpg"]),
        ("cp850", "cp850", ["Ação/1.jpg", "coração/2.jpg"]),
        ("cp1252", "cp1252", ["Äpfel/1.jpg", "Grüße/2.jpg"]),
        ("cp1252", "cp1252", ["Café/1.jpg", "Pâte/2.jpg"]),
    ],
)
def test_names_without_a_stated_encoding_are_judged_together(
    encoding: str, found: str, names: list[str]
) -> None:
    source = ZipSource(archive_of([name.encode(encoding) for name in names]))
    assert paths(source) == sorted(names)
    assert (source.names_encoding, source.is_names_encoding_guessed) == (found, encoding != "utf-8")
    for name in names:
        assert source.read(name, 100) == b"x" + name.encode(encoding)


def test_a_guess_never_leaves_characters_out() -> None:
    names = ["яблоки/1.jpg", "груши/2.jpg"]
    source = ZipSource(archive_of([name.encode("koi8_r") for name in names]))
    assert source.is_names_encoding_guessed
    assert not any("\ufffd" in path for path in paths(source))


@pytest.mark.parametrize("chosen", ["", "gb18030"])
def test_names_that_can_only_be_utf8_are_so_beside_others(chosen: str) -> None:
    names = ["葡萄/1.jpg".encode(), "香蕉/2.jpg".encode("gb18030"), "苹果/3.jpg".encode("gb18030")]
    source = ZipSource(archive_of(names), names_encoding=chosen)
    assert paths(source) == sorted(["葡萄/1.jpg", "香蕉/2.jpg", "苹果/3.jpg"])
    assert source.names_encoding == "gb18030"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("cp852", "Żółw.jpg"), ("koi8_r", "груша.jpg"), ("cp1253", "Γάτα.jpg"), ("cp737", "Γάτα.jpg"),
     ("cp1254", "Kırmızı.jpg"), ("cp857", "Kırmızı.jpg"), ("cp1255", "חתול.jpg"), ("cp862", "חתול.jpg"),
     ("cp1256", "قطة.jpg"), ("cp874", "แมว.jpg")],
)  # fmt: skip
def test_what_is_not_guessed_can_be_chosen(encoding: str, name: str) -> None:
    assert encoding in CHOICES
    assert paths(ZipSource(archive_of([name.encode(encoding)]), names_encoding=encoding)) == [name]


def test_a_person_can_choose_another_encoding() -> None:
    names = ["貓/一.jpg".encode("big5")]
    source = ZipSource(archive_of(names), names_encoding="big5")
    assert paths(source) == ["貓/一.jpg"]
    assert not source.is_names_encoding_guessed
    assert paths(ZipSource(archive_of(names), names_encoding="gb18030")) != ["貓/一.jpg"]


def test_the_unicode_field_of_info_zip_comes_before_all() -> None:
    source = ZipSource(archive_of([b"???.jpg"], extra=lambda name: unicode_path(name, "猫.jpg")))
    assert paths(source) == ["猫.jpg"]
    stale = ZipSource(archive_of([b"new.jpg"], extra=lambda name: unicode_path(b"old.jpg", "old.jpg")))
    assert paths(stale) == ["new.jpg"]


def test_decomposed_names_of_macos_are_composed() -> None:
    source = ZipSource(archive_of(["Cafe\u0301/e\u0301.jpg".encode(), b"__MACOSX/Caf/._e.jpg"]))
    assert paths(source) == ["Café/é.jpg"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mac_finder.zip", ["Café/é1.jpg", "Müsli/ü1.jpg"]),
        ("windows_gbk.zip", ["数据/狗/二.jpg", "数据/猫/一.jpg"]),
    ],
)
def test_archives_from_the_field_have_their_names(name: str, expected: list[str]) -> None:
    assert paths(ZipSource(io.BytesIO(case("zip-names-not-ascii", name)))) == expected


def test_one_name_that_belies_its_flag_leaves_the_others() -> None:
    """Some archivers set the flag for UTF-8 and write another encoding."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("é.jpg", "b.jpg"):
            archive.writestr(name, name)
    broken = out.getvalue().replace("é.jpg".encode(), b"\xe9\xa8.jpg")
    source = ZipSource(io.BytesIO(broken))
    assert len(paths(source)) == 2
    assert source.read("b.jpg", 100) == b"b.jpg"


@pytest.mark.parametrize(
    ("offset", "value"),
    [(6, struct.pack("<H", 900)), (46 + len("broken.jpg"), b"\x01\x00\xff\xff")],
    ids=["version", "extra field"],
)
def test_one_torn_entry_of_the_directory_leaves_the_others(offset: int, value: bytes) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("broken.jpg")
        info.extra = b"\x34\x12\x04\x00abcd"
        archive.writestr(info, b"x")
        archive.writestr("good.jpg", CONTENT)
    content = bytearray(out.getvalue())
    at = content.find(b"PK\x01\x02") + offset
    content[at : at + len(value)] = value
    with pytest.raises((zipfile.BadZipFile, NotImplementedError)):
        zipfile.ZipFile(io.BytesIO(content))
    assert ZipSource(io.BytesIO(content)).read("good.jpg", 1 << 20) == CONTENT


# --- broken members ---


def zip_of(method: int, content: bytes = CONTENT) -> bytearray:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("broken.jpg", content)
        archive.writestr("good.jpg", content)
    return bytearray(out.getvalue())


def with_method(content: bytearray, number: int) -> bytearray:
    """The archive with another compression method of its first member."""
    struct.pack_into("<H", content, 8, number)
    struct.pack_into("<H", content, content.find(b"PK\x01\x02") + 10, number)
    return content


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("offset", [40, 42, 45, 50, 80, 100, 120])
@pytest.mark.parametrize("method", METHODS)
def test_a_broken_member_is_refused_alone(method: int, offset: int) -> None:
    content = zip_of(method)
    content[offset : offset + 12] = b"\xff" * 12
    source = ZipSource(io.BytesIO(bytes(content)))
    with pytest.raises(ImageRefused, match="broken or cut off in the archive"):
        source.read("broken.jpg", 1 << 20)
    with pytest.raises(ImageRefused), source.open("broken.jpg", 1 << 20) as file:
        file.read()
    assert source.read("good.jpg", 1 << 20) == CONTENT


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (9, r"The compression of the file \(deflate64\)"),
        (93, r"The compression of the file \(zstd\)"),
        (95, r"The compression of the file \(xz\)"),
        (98, r"The compression of the file \(ppmd\)"),
        (1234, r"The compression of the file \(number 1234\)"),
        (99, "protected by a password"),
        (zipfile.ZIP_BZIP2, "broken or cut off"),
        (zipfile.ZIP_LZMA, "broken or cut off"),
    ],
)
def test_another_compression_is_refused_for_that_file_alone(number: int, sentence: str) -> None:
    source = ZipSource(io.BytesIO(bytes(with_method(zip_of(zipfile.ZIP_STORED), number))))
    with pytest.raises(ImageRefused, match=sentence):
        source.read("broken.jpg", 1 << 20)
    assert source.read("good.jpg", 1 << 20) == CONTENT


def test_a_fault_of_the_disk_is_not_called_a_broken_file() -> None:
    class FailingDisk(io.BytesIO):
        is_failing = False

        def read(self, size: int | None = -1) -> bytes:
            if self.is_failing:
                raise OSError(5, "Input/output error")
            return super().read(size)

    disk = FailingDisk(bytes(zip_of(zipfile.ZIP_DEFLATED)))
    source = ZipSource(disk)
    disk.is_failing = True
    with pytest.raises(OSError, match="Input/output error"):
        source.read("good.jpg", 1 << 20)


# --- limits and streams ---


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_ends_at_the_limit(method: int) -> None:
    content = zip_of(method)
    at = content.find(b"PK\x01\x02")
    struct.pack_into("<I", content, at + 24, 5)  # the directory says 5 bytes
    source = ZipSource(io.BytesIO(bytes(content)))
    with pytest.raises(ImageRefused):
        source.read("good.jpg", len(CONTENT) - 1)
    with source.open("good.jpg", len(CONTENT)) as file:
        assert file.read(3) == CONTENT[:3]
        assert file.read() == CONTENT[3:]


def test_a_folder_streams_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(CONTENT)
    source = FolderSource(tmp_path)
    with source.open("a.csv", len(CONTENT)) as file:
        assert file.readline() == CONTENT[: CONTENT.index(b"\n") + 1]
    with pytest.raises(ImageRefused, match="larger than"), source.open("a.csv", 10) as file:
        file.read()
    with pytest.raises(ImageRefused, match="cannot be read"), source.open("none.csv", 10):
        pass


def test_names_on_a_server_that_are_not_utf8_are_guessed(tmp_path: Path) -> None:
    folder = bytes(tmp_path) + b"/" + "数据".encode("gb18030")
    Path(folder.decode("utf-8", "surrogateescape")).mkdir()
    name = folder + b"/" + "猫咪.jpg".encode("gb18030")
    Path(name.decode("utf-8", "surrogateescape")).write_bytes(b"x")
    source = FolderSource(tmp_path)
    assert paths(source) == ["数据/猫咪.jpg"]
    assert source.read("数据/猫咪.jpg", 10) == b"x"
