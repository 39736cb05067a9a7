"""Names of the files in a zip archive.

Archivers store a name in Unicode (a flag, or the field 0x7075 of Info-ZIP) or as bytes of whatever encoding
their system has. Python's zipfile reads the latter as cp437, which is reversible.
"""

from __future__ import annotations

import struct
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from zipfile import ZipInfo

from projects.formats.encodings import ARCHIVE_ENCODINGS, Encoding, guess, is_utf8

UTF8_FLAG = 0x800
UNICODE_PATH = 0x7075
MAX_SAMPLE_BYTES = 1 << 16


def decode_names(members: Sequence[ZipInfo], encoding: str = "") -> tuple[list[str], Encoding]:
    """The name of each member in composed Unicode (NFC), and the encoding of those that state none.

    Names without a statement are UTF-8 if all of them are; else one guess for all, or `encoding`, which a
    person chose.
    """
    stated = [_stated_name(member) for member in members]
    raw = [_raw_name(member) if name is None else b"" for member, name in zip(members, stated, strict=True)]
    found = Encoding(encoding) if encoding else _find_encoding(raw)
    names = [
        content.decode(found.name, "replace") if name is None else name
        for content, name in zip(raw, stated, strict=True)
    ]
    return [unicodedata.normalize("NFC", name.partition("\0")[0]) for name in names], found


def _find_encoding(names: Iterable[bytes]) -> Encoding:
    unclear = [name for name in names if not name.isascii()]
    if all(map(is_utf8, unclear)):
        return Encoding("utf-8")
    # One tool made the archive: its names are judged together.
    return Encoding(guess(b"\n".join(unclear)[:MAX_SAMPLE_BYTES], ARCHIVE_ENCODINGS), is_guess=True)


def _stated_name(member: ZipInfo) -> str | None:
    if name := _unicode_path(member):
        return name
    return member.orig_filename if member.flag_bits & UTF8_FLAG else None


def _raw_name(member: ZipInfo) -> bytes:
    if member.flag_bits & UTF8_FLAG:
        return member.orig_filename.encode()
    return member.orig_filename.encode("cp437")


def _unicode_path(member: ZipInfo) -> str:
    """The name in field 0x7075; empty if there is none, or its CRC is that of another name."""
    extra = member.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        content, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind != UNICODE_PATH or len(content) < 6 or content[0] != 1:
            continue
        (checksum,) = struct.unpack_from("<I", content, 1)
        if checksum == zlib.crc32(_raw_name(member)) and is_utf8(content[5:]):
            return content[5:].decode()
    return ""
