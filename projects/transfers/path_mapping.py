"""Finds the image that a line of a manifest or a row of a table names.

Addresses such as `s3://bucket/in/0001.jpg` come from another system. Here the image is a file of an archive
or of a server folder, or an image of the project. Names are compared exactly, then in their Unicode form,
then without regard to capitals, without their endings, and with files named as in addresses (`my%20pic`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from django.utils.translation import gettext_noop

from projects.formats.columns import IMAGE_FILE
from projects.models import Image, Project
from projects.transfers.file_sources import SourceFile, clean_path

URL_SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://")
SHA256_NAME = re.compile(r"\A[0-9a-f]{64}\Z")
QUERY = re.compile(r"[?#].*\Z", re.DOTALL)
# Label Studio keeps uploads as `/data/upload/<project>/<8 digits>-<name>`.
LABEL_STUDIO_UPLOAD = re.compile(r"(?:\A|/)upload/(?:.*/)?[0-9a-f]{8}-(?P<name>[^/]+)\Z")
NOT_FOUND = gettext_noop(
    "This image is neither among the files nor in the project. Add it, or enter its folder."
)
AMBIGUOUS = (
    "Several images have this name{examples}. "  # not translated: stored with values
    "Give the path with its folders, or import them one by one."
)
MAX_EXAMPLES = 3

Target = TypeVar("Target", str, int)
Normalize = Callable[[str], str]


@dataclass(frozen=True)
class PathMapping:
    """Addresses that start with `prefix` name files in `folder` of the source."""

    prefix: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Match:
    """A file of the source (`path`), an image of the project (`image_id`), or a `problem`.

    `shared`: number of path parts, counted from the file name, that equal those of the address.
    """

    path: str = ""
    image_id: int | None = None
    problem: str = ""
    shared: int = 0


class ImageFinder:
    """Finds images by address. Each look-up takes a time that does not depend on the number of files."""

    def __init__(self, project: Project, files: Iterable[SourceFile], mapping: PathMapping) -> None:
        self._project, self._mapping = project, mapping
        paths = [(file.path, file.path) for file in files]
        self._files: list[_PathIndex[str]] = [_PathIndex(paths, normalize) for normalize in NORMAL_FORMS]

    def find(self, source: str, sha256: str = "") -> Match:
        """The image that `source` names. Of several files the one with the longest common path end wins."""
        addresses = list(dict.fromkeys(map(self._mapped, spellings(source))))
        for form, files in enumerate(self._files):
            for address in addresses:
                if found := files.find(address):
                    path, shared, problem = found
                    return Match(path=path or "", problem=problem, shared=shared)
            if form == 0 and (image_id := self._by_content(source, sha256)):
                return Match(image_id=image_id)
            for address in addresses:
                if in_project := self._images[form].find(file_name(address)):
                    return Match(image_id=in_project[0], problem=in_project[2])
        return Match(problem=NOT_FOUND)

    def _mapped(self, source: str) -> str:
        prefix, folder = self._mapping.prefix, self._mapping.folder
        if prefix and source.startswith(prefix):
            return clean_path(f"{folder}/{source.removeprefix(prefix)}")
        return clean_path(URL_SCHEME.sub("", source))

    def _by_content(self, source: str, sha256: str) -> int | None:
        """The image of the project with this content; exports name files by it, too."""
        stem = file_name(clean_path(unquote(source))).partition(".")[0]
        names = (name for name in (sha256, stem) if SHA256_NAME.match(name))
        return next((self._by_sha256[name] for name in names if name in self._by_sha256), None)

    @cached_property
    def _rows(self) -> list[tuple[int, str, str]]:
        images = Image.objects.filter(project=self._project).alive()
        return list(images.order_by("pk").values_list("pk", "sha256", "name"))

    @cached_property
    def _by_sha256(self) -> dict[str, int]:
        return {sha256: pk for pk, sha256, _ in self._rows}

    @cached_property
    def _images(self) -> list[_PathIndex[int]]:
        names = [(name, pk) for pk, _, name in self._rows]
        return [_PathIndex(names, normalize) for normalize in NORMAL_FORMS]


@dataclass(frozen=True, slots=True)
class _Candidate(Generic[Target]):
    """A target with its path, and the path in a normal form."""

    key: str
    path: str
    target: Target


class _PathIndex(Generic[Target]):
    """Targets by their paths in a normal form; built when it is first asked."""

    def __init__(self, targets: list[tuple[str, Target]], normalize: Normalize) -> None:
        self._targets: list[tuple[str, Target]] = targets
        self._normalize = normalize
        self._by_end: dict[str, dict[str, list[_Candidate[Target]]]] = {}

    @cached_property
    def _by_name(self) -> dict[str, list[_Candidate[Target]]]:
        by_name: dict[str, list[_Candidate[Target]]] = defaultdict(list)
        for path, target in self._targets:
            key = self._normalize(path)
            by_name[file_name(key)].append(_Candidate(key, path, target))
        return dict(by_name)

    def find(self, address: str) -> tuple[Target | None, int, str] | None:
        """The target, the number of common parts, and a problem; None if no path ends in the same name."""
        key = self._normalize(address)
        name = file_name(key)
        named = self._by_name.get(name, []) if name else []
        if len(named) <= 1:
            return next(((found.target, _common_length(key, found.key), "") for found in named), None)
        ends = self._ends_of(name)
        shared, nearest = next((end.count("/") + 1, ends[end]) for end in _ends(key) if end in ends)
        same = [found for found in nearest if found.key == key]
        if len(nearest) == 1 or len(same) == 1:
            return (same or nearest)[0].target, shared, ""
        return None, 0, _ambiguous([found.path for found in nearest])

    def _ends_of(self, name: str) -> dict[str, list[_Candidate[Target]]]:
        """The paths with this name by each of their ends, so that a look-up need not compare them all."""
        if name not in self._by_end:
            ends: dict[str, list[_Candidate[Target]]] = defaultdict(list)
            for candidate in self._by_name[name]:
                for end in _ends(candidate.key):
                    # An exact path must be found; of the others a few show that there are several.
                    if len(ends[end]) <= MAX_EXAMPLES or end == candidate.key:
                        ends[end].append(candidate)
            self._by_end[name] = dict(ends)
        return self._by_end[name]


def _ends(path: str) -> Iterator[str]:
    """`a/b/c`, `b/c`, `c`: the ends of a path, the longest first."""
    parts = path.split("/")[-32:]
    return ("/".join(parts[start:]) for start in range(len(parts)))


def _ambiguous(paths: list[str]) -> str:
    several = sorted(set(paths))[:MAX_EXAMPLES]
    examples = (
        f" ({', '.join(several)}{' …' if len(paths) > MAX_EXAMPLES else ''})" if len(several) > 1 else ""
    )
    return AMBIGUOUS.format(examples=examples)


def _common_length(first: str, second: str) -> int:
    length = 0
    for part, other in zip(first.split("/")[::-1], second.split("/")[::-1], strict=False):
        if part != other:
            break
        length += 1
    return length


# --- spellings and normal forms ---


def spellings(source: str) -> Iterator[str]:
    """The address as it is, without its query, decoded, and as the name that Label Studio was given."""
    plain = [source, QUERY.sub("", source)]
    plain += [unquote(address) for address in plain]
    if "local-files" in source:  # `/data/local-files/?d=folder/a.jpg`
        plain += parse_qs(urlsplit(source).query).get("d", [])
    yield from plain
    for address in plain:
        if upload := LABEL_STUDIO_UPLOAD.search(clean_path(address)):
            yield upload["name"]


def readable_name(source: str) -> str:
    """The file name in an address, for people: decoded and without a query."""
    is_url = URL_SCHEME.match(source) is not None
    return file_name(clean_path(unquote(QUERY.sub("", source)) if is_url else source))


def file_name(path: str) -> str:
    return path.rpartition("/")[2]


def _composed(path: str) -> str:
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def _caseless(path: str) -> str:
    return _composed(path).casefold()


def _without_ending(path: str) -> str:
    return IMAGE_FILE.sub("", _caseless(path))


def _decoded(path: str) -> str:
    return _without_ending(unquote(path))


NORMAL_FORMS: tuple[Normalize, ...] = (str, _composed, _caseless, _without_ending, _decoded)
