"""The archive of a backup and of a project: a tar file with a sha256 of every member.

Members in order: `head.json`, the members of the writer, `manifest.jsonl` (name, size, sha256 of each member
before it) and `end.json` (the manifest's sha256 and what was counted). A file that was cut off has no end.
Plain headers only: no links, no extensions, names of ASCII (others are percent-encoded), so that a reader
needs no more memory than one header, whatever a file holds.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal
from urllib.parse import quote, unquote

from django.utils.translation import gettext_noop

from exeml_site.lib.errors import Refused

BLOCK = tarfile.BLOCKSIZE
CHUNK_BYTES = 1 << 20
MAX_JSON_BYTES = 1 << 22  # of head.json and end.json
MAX_USTAR_BYTES = 8**11 - 1
NO_ARCHIVE = gettext_noop("This file is not an archive of exeml, or it is damaged.")
CUT_OFF = gettext_noop("The file is damaged: its end is missing.")
HEAD, MANIFEST, END = "head.json", "manifest.jsonl", "end.json"
_PART = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._~%-]+")  # of a path; no “.” and no “..”
_LINE = re.compile(r'\{"name":"([^"]+)","size":(\d+),"sha256":"([0-9a-f]{64})"\}\n')


class BadArchive(Refused):
    """The file is no such archive, or it is damaged; the message is a sentence for the person."""


@dataclass(frozen=True)
class ArchiveMember:
    name: str
    size: int
    at: int  # where its content begins


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A new file that stands under `path` when the block ends, flushed to the disk; not at all if it fails.

    Raises Refused if `path` exists.
    """
    if path.exists():
        raise Refused(f"{path} exists already. Name another file, or move this one away.")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        part.unlink(missing_ok=True)


class ArchiveWriter:
    """Writes members one after another; nothing is held in memory but a chunk."""

    def __init__(self, file: BinaryIO, head: dict[str, Any]) -> None:
        self._file = file
        self._manifest: IO[bytes] = tempfile.SpooledTemporaryFile(1 << 22)  # noqa: SIM115 (closed by `end`)
        self.add_bytes(HEAD, _json(head))

    def add_bytes(self, name: str, content: bytes) -> None:
        self.add(name, len(content), io.BytesIO(content))

    def add(self, name: str, size: int, source: IO[bytes]) -> None:
        """Add `size` bytes that `source` has. Raises OSError if it has fewer."""
        digest = self._copy(name, size, source)
        self._manifest.write(_line(quote(name), size, digest))

    def end(self, counted: dict[str, Any]) -> None:
        """Write the manifest and the end."""
        with self._manifest as manifest:
            size = manifest.tell()
            manifest.seek(0)
            digest = self._copy(MANIFEST, size, manifest)
        content = _json({**counted, "manifest_sha256": digest})
        self._copy(END, len(content), io.BytesIO(content))
        self._file.write(bytes(2 * BLOCK))

    def _copy(self, name: str, size: int, source: IO[bytes]) -> str:
        """Write a member; return its sha256."""
        header = tarfile.TarInfo(quote(name))
        header.size, header.mode = size, 0o600
        kind: Literal[0, 1] = tarfile.USTAR_FORMAT if size <= MAX_USTAR_BYTES else tarfile.GNU_FORMAT
        try:
            self._file.write(header.tobuf(kind, "ascii", "strict"))
        except ValueError as problem:
            raise Refused(f"The name of the stored file {name} is too long for an archive.") from problem
        digest, left = hashlib.sha256(), size
        while left:
            chunk = source.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise OSError(f"{name} became shorter while it was read")
            digest.update(chunk)
            self._file.write(chunk)
            left -= len(chunk)
        self._file.write(bytes(-size % BLOCK))
        return digest.hexdigest()


class ArchiveReader:
    """Reads an archive of `ArchiveWriter`; `file` is seekable. Raises BadArchive for everything else."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        first = next(self.members(), None)
        if first is None or first.name != HEAD:
            raise BadArchive(NO_ARCHIVE)
        self.head = self._read_json(first)

    def members(self) -> Iterator[ArchiveMember]:
        """All members in order. The names are safe as paths below a folder."""
        at = 0
        while True:
            self._file.seek(at)
            block = self._file.read(BLOCK)
            if block == bytes(BLOCK) or (not block and at):
                return
            header = _header(block)
            if at + BLOCK + header.size > self._size:
                raise BadArchive(CUT_OFF)
            yield ArchiveMember(_safe_name(header.name), header.size, at + BLOCK)
            at += BLOCK + header.size + (-header.size % BLOCK)

    def chunks(self, member: ArchiveMember) -> Iterator[bytes]:
        self._file.seek(member.at)
        left = member.size
        while left:
            chunk = self._file.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise BadArchive(CUT_OFF)
            left -= len(chunk)
            yield chunk

    def open(self, member: ArchiveMember) -> io.BufferedReader:
        return io.BufferedReader(_MemberFile(self._file, member), CHUNK_BYTES)

    def check(self, beat: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Read everything and compare each sha256; return what `end.json` counted. Raises BadArchive.

        `beat` is called for each member.
        """
        with tempfile.SpooledTemporaryFile(1 << 22) as found:
            manifest: ArchiveMember | None = None
            for member in self.members():
                beat()
                if member.name == END:
                    return self._compare(found, manifest, self._read_json(member))
                if manifest is not None:
                    raise BadArchive(f"The file is damaged: {member.name} stands behind its manifest.")
                if member.name == MANIFEST:
                    manifest = member
                    continue
                found.write(_line(quote(member.name), member.size, self._sha256(member)))
        raise BadArchive(CUT_OFF)

    def _compare(
        self, found: IO[bytes], manifest: ArchiveMember | None, end: dict[str, Any]
    ) -> dict[str, Any]:
        if manifest is None or self._sha256(manifest) != end.get("manifest_sha256"):
            raise BadArchive("The file is damaged: its manifest does not fit.")
        found.seek(0)
        with self.open(manifest) as expected:
            for line in found:
                wanted = expected.readline(4096).decode("ascii", "replace")
                if line.decode("ascii") != wanted:
                    match = _LINE.fullmatch(wanted)
                    name = unquote(match[1]) if match else MANIFEST
                    raise BadArchive(f"The file is damaged: the content of {name} does not fit its sha256.")
            if expected.read(1):
                raise BadArchive("The file is damaged: members that its manifest names are missing.")
        return end

    def _sha256(self, member: ArchiveMember) -> str:
        digest = hashlib.sha256()
        for chunk in self.chunks(member):
            digest.update(chunk)
        return digest.hexdigest()

    def _read_json(self, member: ArchiveMember) -> dict[str, Any]:
        if member.size > MAX_JSON_BYTES:
            raise BadArchive(f"The file is damaged: {member.name} is too large.")
        try:
            value = json.loads(b"".join(self.chunks(member)))
        except (ValueError, RecursionError) as problem:
            raise BadArchive(f"The file is damaged: {member.name} cannot be read.") from problem
        if not isinstance(value, dict):
            raise BadArchive(f"The file is damaged: {member.name} cannot be read.")
        return value


class _MemberFile(io.RawIOBase):
    """One member as a file of its own."""

    def __init__(self, file: BinaryIO, member: ArchiveMember) -> None:
        self._file, self._member, self._at = file, member, 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        self._file.seek(self._member.at + self._at)
        content = self._file.read(min(len(target), self._member.size - self._at))
        target[: len(content)] = content
        self._at += len(content)
        return len(content)


def _header(block: bytes) -> tarfile.TarInfo:
    """The header of a plain file. Raises BadArchive for links, devices, extensions and nonsense."""
    try:
        header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, ValueError) as problem:
        raise BadArchive(NO_ARCHIVE) from problem
    if header.type != tarfile.REGTYPE or header.size < 0:
        raise BadArchive("This file is not an archive of exeml: it holds more than plain files.")
    return header


def _safe_name(quoted: str) -> str:
    """The name behind a quoted one. Raises BadArchive for a path that leads elsewhere."""
    name = unquote(quoted, errors="replace")
    is_plain = all(_PART.fullmatch(part) for part in quoted.split("/"))
    if not is_plain or any(part in ("", ".", "..") for part in name.split("/")) or re.search(r"[\\\0]", name):
        raise BadArchive(f"The file is refused: its member {quoted[:80]!r} leads out of the archive.")
    return name


def _line(quoted: str, size: int, sha256: str) -> bytes:
    return f'{{"name":"{quoted}","size":{size},"sha256":"{sha256}"}}\n'.encode("ascii")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode()
