"""Finds the image that a line of a manifest or a row of a table names.

Addresses such as `s3://bucket/in/0001.jpg` come from another system. Here the image is a file of an archive
or of a server folder, or an image of the project.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

from projects.models import Image, Project
from projects.transfers.file_sources import SourceFile, clean_path

URL_SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://")
SHA256_NAME = re.compile(r"\A[0-9a-f]{64}\Z")
NOT_FOUND = "This image is neither among the files nor in the project. Add it, or enter its folder."
AMBIGUOUS = "Several images have this name. Give the path in the folders, or import them one by one."


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
    def __init__(self, project: Project, files: Iterable[SourceFile], mapping: PathMapping) -> None:
        self._project, self._mapping = project, mapping
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for file in files:
            self._by_name[_file_name(file.path)].append(file.path)

    def find(self, source: str, sha256: str = "") -> Match:
        """The image that `source` names. Of several files the one with the longest common path end wins."""
        for spelling in dict.fromkeys((source, unquote(source))):
            paths = self._by_name.get(_file_name(clean_path(spelling)), [])
            if paths:
                return _closest(self._mapped(spelling), paths)
        return self._in_project(source, sha256)

    def _mapped(self, source: str) -> str:
        prefix, folder = self._mapping.prefix, self._mapping.folder
        if prefix and source.startswith(prefix):
            return clean_path(f"{folder}/{source.removeprefix(prefix)}")
        return clean_path(URL_SCHEME.sub("", source))

    def _in_project(self, source: str, sha256: str) -> Match:
        name = _file_name(clean_path(unquote(source)))
        stem = name.partition(".")[0]
        for sha256_name in (sha256, stem):
            if SHA256_NAME.match(sha256_name) and sha256_name in self._by_sha256:
                return Match(image_id=self._by_sha256[sha256_name])
        matching = self._by_image_name.get(name, [])
        if len(matching) == 1:
            return Match(image_id=matching[0])
        return Match(problem=AMBIGUOUS if matching else NOT_FOUND)

    @cached_property
    def _rows(self) -> list[tuple[int, str, str]]:
        images = Image.objects.filter(project=self._project).alive()
        return list(images.order_by("pk").values_list("pk", "sha256", "name"))

    @cached_property
    def _by_sha256(self) -> dict[str, int]:
        return {sha256: pk for pk, sha256, _ in self._rows}

    @cached_property
    def _by_image_name(self) -> dict[str, list[int]]:
        ids: dict[str, list[int]] = defaultdict(list)
        for pk, _, name in self._rows:
            ids[name].append(pk)
        return ids


def _closest(address: str, paths: list[str]) -> Match:
    """The path with the longest common end with `address`; a problem if two paths tie."""
    parts = address.split("/")[::-1]
    shared = {path: _common_length(parts, path.split("/")[::-1]) for path in paths}
    most = max(shared.values())
    best = [path for path, length in shared.items() if length == most]
    exact = [path for path in best if path == address]
    if exact or len(best) == 1:
        return Match(path=(exact or best)[0], shared=most)
    return Match(problem=AMBIGUOUS)


def _common_length(first: list[str], second: list[str]) -> int:
    length = 0
    for part, other in zip(first, second, strict=False):
        if part != other:
            break
        length += 1
    return length


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]
