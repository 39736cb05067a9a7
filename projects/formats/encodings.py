"""Encodings of names and tables that name none: UTF-8 where it fits, else a guess by the letters."""

from __future__ import annotations

import codecs
import itertools
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO
from zipfile import ZipInfo

import chardet
from django.utils.translation import gettext_lazy

from projects.formats.errors import LabelFileError

UTF8_FLAG = 0x800
UNICODE_PATH = 0x7075
SAMPLE_BYTES = 1 << 16
MAY_BE_CUT_BYTES = 1 << 12
# Encodings that a person can choose, with the names that the page shows. All are Python's.
CHOICES = {
    "utf-8": "Unicode (UTF-8)",
    "gb18030": gettext_lazy("Chinese, simplified (GBK)"),
    "big5": gettext_lazy("Chinese, traditional (Big5)"),
    "cp932": gettext_lazy("Japanese (Shift-JIS)"),
    "euc_jp": gettext_lazy("Japanese (EUC-JP)"),
    "cp949": gettext_lazy("Korean (EUC-KR)"),
    "cp1251": gettext_lazy("Cyrillic (Windows)"),
    "cp866": gettext_lazy("Cyrillic (DOS)"),
    "cp1252": gettext_lazy("Western (Windows)"),
    "cp1250": gettext_lazy("Central European (Windows)"),
    "cp852": gettext_lazy("Central European (DOS)"),
    "koi8_r": gettext_lazy("Cyrillic (KOI8-R)"),
    "cp1253": gettext_lazy("Greek (Windows)"),
    "cp737": gettext_lazy("Greek (DOS)"),
    "cp1254": gettext_lazy("Turkish (Windows)"),
    "cp857": gettext_lazy("Turkish (DOS)"),
    "cp1255": gettext_lazy("Hebrew (Windows)"),
    "cp862": gettext_lazy("Hebrew (DOS)"),
    "cp1256": gettext_lazy("Arabic (Windows)"),
    "cp874": gettext_lazy("Thai"),
    "cp437": gettext_lazy("Western (DOS, 437)"),
    "cp850": gettext_lazy("Western (DOS, 850)"),
    "utf-16": "Unicode (UTF-16)",
    "utf-16-le": "Unicode (UTF-16, little-endian)",
    "utf-16-be": "Unicode (UTF-16, big-endian)",
}
_EAST_ASIAN = ("gb18030", "big5", "cp932", "euc_jp", "cp949")
# In the order of preference where several fit equally well.
ARCHIVE_ENCODINGS = (*_EAST_ASIAN, "cp866", "cp1251", "cp437", "cp850", "cp1252")
TABLE_ENCODINGS = (*_EAST_ASIAN, "cp1251", "cp1252", "cp1250")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN = ("cp437", "cp850", "cp1252")
# No byte of a character of two or more bytes in any candidate.
_BETWEEN_WORDS = re.compile(rb"[\x00-\x2f\x3a-\x3f]+")
_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
_NEVER_IN_TEXT = re.compile("[\x80-\x9f\u2500-\u259f\ue000-\uf8ff]")  # controls, frames, private signs
_TWO_OF_THREE_BYTES = re.compile(rb"(?:[\xe0-\xef][\x80-\xbf]{2}){2}")
_CERTAIN = 0.1  # chardet's confidence from which it is right about short texts


@dataclass(frozen=True)
class Encoding:
    """A key of CHOICES, and whether it is a guess."""

    name: str
    is_guess: bool = False


def is_utf8(content: bytes, *, is_cut: bool = False) -> bool:
    """`is_cut`: the content may end within a character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=not is_cut)
    except UnicodeDecodeError:
        return False
    return True


def find_encoding(beginning: bytes) -> Encoding:
    """The encoding of a text by its beginning: by its byte order mark, else UTF-8, else a guess."""
    for mark, name in _BYTE_ORDER_MARKS:
        if beginning.startswith(mark):
            return Encoding(name)
    if name := _utf16_without_mark(beginning):
        return Encoding(name, is_guess=True)
    if is_utf8(beginning, is_cut=True):
        return Encoding("utf-8")
    return Encoding(guess(beginning, TABLE_ENCODINGS), is_guess=True)


def encoding_of_rest(beginning: bytes, file: BinaryIO) -> Encoding:
    """UTF-8 if the whole text is, else a guess: the first accent may come late."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for content in itertools.chain([beginning], iter(lambda: file.read(1 << 18), b"")):
        try:
            decoder.decode(content)
        except UnicodeDecodeError:
            return Encoding(guess(content, TABLE_ENCODINGS), is_guess=True)
    return Encoding("utf-8")


def guess(content: bytes, candidates: tuple[str, ...]) -> str:
    """The candidate that fits a text that is not UTF-8 best, judged by its words beyond ASCII."""
    words = _BETWEEN_WORDS.split(content)
    if len(content) >= MAY_BE_CUT_BYTES:  # the last word may end within a character
        words = words[:-1] or words
    content = b"\n".join(dict.fromkeys(word for word in words if not word.isascii()))[:SAMPLE_BYTES]
    fitting = [name for name in candidates if _fits(content, name)]
    if not fitting:
        return "cp1252" if "cp1252" in candidates else "cp437"
    found = chardet.detect_all(
        content,
        ignore_threshold=True,
        include_encodings=[name.replace("_", "-") for name in candidates],
        no_match_encoding=next(name for name in _WESTERN if name in candidates),
        prefer_superset=True,
    )
    shares: dict[str, float] = {}
    for answer in found:
        name = _codec(answer["encoding"] or "")
        shares[name] = max(shares.get(name, 0.0), answer["confidence"])
    best = max(fitting, key=lambda name: (shares.get(name, 0.0), -fitting.index(name)))
    if best == "cp1250":  # many of its letters are those of cp1252, which is far more frequent
        is_close = 1.5 * shares.get("cp1252", 0.0) >= shares.get(best, 0.0)
        return "cp1252" if is_close and "cp1252" in fitting else best
    if shares.get(best, 0.0) < _CERTAIN and _is_accented(content):
        return next((name for name in _WESTERN if name in fitting and _is_western(content, name)), best)
    return best


def codec_of(encoding: str) -> str:
    """Python's codec of a key of CHOICES. That of UTF-8 passes over a byte order mark."""
    return "utf-8-sig" if encoding == "utf-8" else encoding


def decode(beginning: bytes, encoding: str) -> str:
    """The beginning of a text, which may end within a character; what is no character is replaced."""
    return codecs.getincrementaldecoder(codec_of(encoding))("replace").decode(beginning)


def check_encoding(name: str) -> str:
    """The name of the codec that a person chose. Raises LabelFileError."""
    if name not in CHOICES:
        raise LabelFileError(f"“{name}” is not an available encoding.")  # not translated: stored with values
    return name


def _codec(name: str) -> str:
    """`windows-1251` as the name that CHOICES uses, `cp1251`."""
    try:
        normalized = codecs.lookup(name).name
    except LookupError:
        return name
    supersets = {
        "gb2312": "gb18030",
        "gbk": "gb18030",
        "shift_jis": "cp932",
        "euc_kr": "cp949",
        "iso8859-1": "cp1252",
    }
    return supersets.get(normalized, normalized)


def _fits(content: bytes, name: str) -> bool:
    try:
        is_cut = len(content) >= MAY_BE_CUT_BYTES
        text = codecs.getincrementaldecoder(name)().decode(content, final=not is_cut)
    except UnicodeDecodeError:
        return False
    return not _NEVER_IN_TEXT.search(text)


def _is_accented(content: bytes) -> bool:
    """Whether single bytes beyond ASCII stand beside ASCII letters, as accented letters in words do."""
    if b"\\" in content:  # half of a Japanese character
        return False
    runs = list(_HIGH_BYTES.finditer(content))
    beside = [
        content[max(0, run.start() - 1) : run.start()] + content[run.end() : run.end() + 1] for run in runs
    ]
    return all(len(run[0]) == 1 for run in runs) and all(
        any(chr(byte).isalpha() for byte in pair) for pair in beside
    )


def _is_western(content: bytes, name: str) -> bool:
    """Whether every character beyond ASCII is a letter of a Western European language."""
    text = content.decode(name, "replace")
    if any(one.islower() and other.isupper() and not other.isascii() for one, other in pairwise(text)):
        return False  # `CafÚ`
    return all(character.isascii() or (character.isalpha() and ord(character) < 0x180) for character in text)


def _utf16_without_mark(beginning: bytes) -> str:
    even, odd = beginning[0:4096:2], beginning[1:4096:2]
    if len(odd) > 4 and odd.count(0) > 0.4 * len(odd) and not even.count(0):
        return "utf-16-le"
    if len(odd) > 4 and even.count(0) > 0.4 * len(even) and not odd.count(0):
        return "utf-16-be"
    return ""


# --- names in zip archives ---
# Archivers store a name in Unicode (a flag, or the field 0x7075 of Info-ZIP), or as bytes of whatever
# encoding their system has. Python reads the latter as cp437, which is reversible.


def decode_zip_names(members: Sequence[ZipInfo], encoding: str = "") -> tuple[list[str], Encoding]:
    """The name of each member in composed Unicode (NFC), and the encoding of those that state none.

    Names without a statement are UTF-8 if all of them are, or if they cannot be anything else; one guess
    for all the others, or `encoding`, which a person chose.
    """
    stated = [_stated_name(member) for member in members]
    raw = [_raw_name(member) if name is None else b"" for member, name in zip(members, stated, strict=True)]
    found = Encoding(encoding) if encoding else _find_names_encoding(raw)
    names = [
        content.decode("utf-8" if _is_surely_utf8(content) else found.name, "replace")
        if name is None
        else name
        for content, name in zip(raw, stated, strict=True)
    ]
    return [unicodedata.normalize("NFC", name.partition("\0")[0]) for name in names], found


def guess_names(names: Sequence[bytes]) -> list[str]:
    """Names that are not UTF-8, by one guess for all."""
    encoding = guess(b"\n".join(names)[:SAMPLE_BYTES], ARCHIVE_ENCODINGS) if names else "utf-8"
    return [name.decode(encoding, "replace") for name in names]


def _find_names_encoding(names: Iterable[bytes]) -> Encoding:
    names = [name for name in names if not name.isascii()]
    if all(map(is_utf8, names)):
        return Encoding("utf-8")
    unclear = [name for name in names if not _is_surely_utf8(name)]
    # One tool made the archive: its names are judged together.
    return Encoding(guess(b"\n".join(unclear)[:SAMPLE_BYTES], ARCHIVE_ENCODINGS), is_guess=True)


def _decoded(name: bytes, encoding: str) -> str:
    return name.decode("utf-8" if _is_surely_utf8(name) else encoding, "replace")


def _is_surely_utf8(name: bytes) -> bool:
    """Whether two characters of three bytes follow one another: other encodings hardly ever look so."""
    return bool(_TWO_OF_THREE_BYTES.search(name)) and is_utf8(name)


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


def repaired_directory(directory: bytes) -> bytes:
    """The directory of an archive, equally long, without what makes zipfile refuse the whole archive.

    That is a name which is not UTF-8 under the flag for it, a version above zipfile's, a torn extra field.
    """
    repaired, at = bytearray(directory), 0
    while directory.startswith(b"PK\x01\x02", at) and at + 46 <= len(directory):
        version, flags = struct.unpack_from("<HH", directory, at + 6)
        name_size, extra_size, comment_size = struct.unpack_from("<HHH", directory, at + 28)
        name_at, extra_at = at + 46, at + 46 + name_size
        if not is_utf8(directory[name_at:extra_at]):
            struct.pack_into("<H", repaired, at + 8, flags & ~UTF8_FLAG)
        struct.pack_into("<H", repaired, at + 6, min(version, 63))
        if _is_torn(directory[extra_at : extra_at + extra_size]):
            repaired[extra_at : extra_at + extra_size] = bytes(extra_size)
        at = extra_at + extra_size + comment_size
    return bytes(repaired[: len(directory)])


def _is_torn(extra: bytes) -> bool:
    while len(extra) >= 4:
        size = struct.unpack_from("<H", extra, 2)[0]
        if size > len(extra) - 4:
            return True
        extra = extra[4 + size :]
    return False
