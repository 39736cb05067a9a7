"""The upload of many images: interrupted at any moment, a second one sends only what is missing."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from exeml.core.calls import Call, FilePart, Pages, Steps, Together, Work, create, fetch, get, post
from exeml.errors import Problem
from exeml.records import UploadedFile, UploadReport

Source = str | Path | Iterable[str | Path]

FOLDERS = "folders"
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif"),
    *(".tif", ".tiff", ".gif", ".bmp", ".jp2", ".j2k", ".jpx"),
)
KNOWN_AT_ONCE = 1000  # hashes in one question
FILES_AT_ONCE, BYTES_AT_ONCE = 50, 24 << 20  # in one call
CALLS_AT_ONCE = 3
ANNOTATIONS_AT_ONCE = 10_000
TIMEOUT_S = 600.0
REFUSED_LABELS = re.compile(r"annotations\.(\d+)\.labels")  # a field of a Problem


@dataclass(frozen=True)
class LocalFile:
    """A file to upload. `name`: its path within the folder that was chosen."""

    path: Path
    name: str
    sha256: str = ""
    size: int = 0
    reason: str = ""  # why it cannot be read


@dataclass
class UploadProgress:
    """How far an upload is; `on_progress` gets it after every call."""

    total_count: int
    done_count: int = 0
    report: UploadReport = field(default_factory=UploadReport)


def find_files(source: Source) -> list[LocalFile]:
    """The files that are named, and the images below the folders that are named, in the order of names."""
    named = [source] if isinstance(source, (str, Path)) else list(source)
    files = [file for place in named for file in _files_at(Path(place))]
    if not files:
        raise FileNotFoundError(f"There is no image in {', '.join(map(str, named)) or 'an empty list'}.")
    return files


def _files_at(place: Path) -> Iterator[LocalFile]:
    if not place.is_dir():
        if not place.exists():
            raise FileNotFoundError(f"{place} does not exist.")
        if not place.is_file():  # a pipe or a device has no end, or can be read only once
            raise ValueError(f"{place} is no file.")
        yield LocalFile(place, _text(place.name))
        return
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place)
        is_hidden = any(part.startswith((".", "__MACOSX")) for part in name.parts)
        if path.suffix.lower() in SUFFIXES and not is_hidden and path.is_file():
            yield LocalFile(path, _text(name.as_posix()))


def _text(name: str) -> str:
    """A name that UTF-8 can hold: names of files can be any bytes."""
    return os.fsencode(name).decode(errors="replace")


def upload_steps(
    path: str, files: Sequence[LocalFile], labels: str | Sequence[str] | None, report: Callable[[Any], None]
) -> Steps[UploadReport]:
    """Ask which of the files the project has, and send the others, a few calls at a time."""
    progress = UploadProgress(len(files))
    form = _form(labels)
    named: dict[int, LocalFile] = {}  # files whose image the project has

    def count(answers: Sequence[UploadedFile]) -> None:
        for answer in answers:
            _count(progress.report, answer)
        progress.done_count += len(answers)
        report(progress)

    for start in range(0, len(files), KNOWN_AT_ONCE):
        hashed = yield Work(partial(_hashed, files[start : start + KNOWN_AT_ONCE]))
        unreadable = [file for file in hashed if file.reason]
        readable = [file for file in hashed if not file.reason]
        known = yield from _known(path, readable)
        missing = [file for file in readable if file.sha256 not in known]
        named |= {known[file.sha256]: file for file in readable if file.sha256 in known}
        progress.report.known_count += len(readable) - len(missing)
        progress.done_count += len(readable) - len(missing)
        count([_refused(file) for file in unreadable])
        chunks = (_send(path, chunk, form) for chunk in _chunks(missing))
        yield Together(chunks, CALLS_AT_ONCE, count)
    wanted = {key: names for key, file in named.items() if (names := _labels_of(file, labels))}
    for key, reason in (yield from _label_unlabeled(path, wanted)).items():
        remark = UploadedFile(name=named[key].name, status="duplicate", image_id=key, reason=reason)
        progress.report.remarks.append(remark)
    return progress.report


def _label_unlabeled(path: str, named: dict[int, list[str]]) -> Steps[dict[int, str]]:
    """Labels for images whose upload was interrupted before them. Those that have labels keep them.

    Returns why labels were refused, by image.
    """
    refused: dict[int, str] = {}
    if not named:
        return refused
    unlabeled: list[int] = []
    call: Call | None = get(f"{path}/images", tab="unlabeled", sort="oldest", limit=1000, fields="id")
    while call is not None:
        rows, call = Pages(call, lambda row: int(row["id"])).split((yield from fetch(call)), 0)
        unlabeled += [key for key in rows if key in named]
    for start in range(0, len(unlabeled), ANNOTATIONS_AT_ONCE):
        chosen = unlabeled[start : start + ANNOTATIONS_AT_ONCE]
        refused |= yield from _annotated(path, {key: named[key] for key in chosen})
    return refused


def _annotated(path: str, named: dict[int, list[str]]) -> Steps[dict[int, str]]:
    """Label images without those whose labels the server refuses; returns why, by image."""
    refused: dict[int, str] = {}
    while named:
        rows: list[dict[str, Any]] = [{"image_id": key, "labels": names} for key, names in named.items()]
        try:
            yield from fetch(create(f"{path}/annotations", {"annotations": rows}, timeout_s=TIMEOUT_S))
            break
        except Problem as problem:
            reasons = {
                tuple(rows[int(place[1])]["labels"]): error.message
                for error in problem.errors
                if (place := REFUSED_LABELS.fullmatch(error.field))
            }
            if not reasons:
                raise
        refused |= {key: reasons[tuple(names)] for key, names in named.items() if tuple(names) in reasons}
        named = {key: names for key, names in named.items() if key not in refused}
    return refused


def _labels_of(file: LocalFile, labels: str | Sequence[str] | None) -> list[str]:
    """The labels that the server gives the file, were it sent."""
    if labels == FOLDERS:
        return file.name.split("/")[:-1][:1]
    return list(_form(labels).get("label", ()))


def _form(labels: str | Sequence[str] | None) -> dict[str, Any]:
    if labels == FOLDERS:
        return {"folders": "yes"}
    return {"label": [labels] if isinstance(labels, str) else list(labels)} if labels else {}


def _hashed(files: Sequence[LocalFile]) -> list[LocalFile]:
    def hashed(file: LocalFile) -> LocalFile:
        try:
            with file.path.open("rb") as content:
                digest = hashlib.sha256()
                while chunk := content.read(1 << 20):
                    digest.update(chunk)
                return LocalFile(file.path, file.name, digest.hexdigest(), content.tell())
        except OSError as error:
            return LocalFile(file.path, file.name, reason=error.strerror or str(error))

    return [hashed(file) for file in files]


def _known(path: str, files: Sequence[LocalFile]) -> Steps[dict[str, Any]]:
    if not files:
        return {}
    hashes = sorted({file.sha256 for file in files})
    answer = yield from fetch(post(f"{path}/images/known", {"sha256": hashes}, repeats_safely=True))
    known: dict[str, Any] = answer["known"]
    return known


def _chunks(files: Sequence[LocalFile]) -> Iterator[list[LocalFile]]:
    chunk: list[LocalFile] = []
    for file in files:
        is_full = len(chunk) == FILES_AT_ONCE or sum(each.size for each in chunk) + file.size > BYTES_AT_ONCE
        if chunk and is_full:
            yield chunk
            chunk = []
        chunk.append(file)
    if chunk:
        yield chunk


def _send(path: str, chunk: Sequence[LocalFile], form: dict[str, Any]) -> Steps[list[UploadedFile]]:
    parts = yield Work(lambda: [FilePart(file.name, _content(file)) for file in chunk])
    call: Call = create(f"{path}/images", form=form, files=parts, timeout_s=TIMEOUT_S)
    answer = yield from fetch(call)
    rows = answer.get("items", answer.get("files")) if isinstance(answer, dict) else answer
    return [UploadedFile.model_validate(row) for row in rows or ()]


def _content(file: LocalFile) -> bytes | Path:
    """A file that fills a call alone is read while it is sent."""
    return file.path.read_bytes() if file.size <= BYTES_AT_ONCE else file.path


def _refused(file: LocalFile) -> UploadedFile:
    return UploadedFile(name=file.name, status="refused", reason=file.reason)


def _count(report: UploadReport, answer: UploadedFile) -> None:
    if answer.status == "refused":
        report.refused.append(answer)
        return
    if answer.reason:
        report.remarks.append(answer)
    if answer.status == "duplicate":
        report.duplicate_count += 1
    else:  # stored, or restored from the bin
        report.stored_count += 1
