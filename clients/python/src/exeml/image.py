"""Images of a project."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path, PureWindowsPath
from typing import Any

from pydantic import Field

from exeml.core.calls import Call, Pages, Steps, fetch, get, send
from exeml.core.modes import M, listing, operation
from exeml.core.resource import Record, Resource


class Image(Resource[M]):
    """An image, with its labels and what was measured."""

    id: int
    name: str = ""
    sha256: str = ""
    labels: list[str] = Field(default_factory=list)
    split: str = ""
    format: str = ""
    width: int | None = None
    height: int | None = None
    size_bytes: int | None = None
    uploaded_by: str | None = None
    uploaded_at: datetime | None = None

    @property
    def _path(self) -> str:
        return f"{self._parent}/images/{self.id}"

    @operation
    def refresh(self) -> Steps[Image[M]]:
        """Read it again."""
        self._update((yield from fetch(get(self._path))))
        return self

    @operation
    def content(self) -> Steps[bytes]:
        """The file, byte by byte as it was uploaded."""
        return (yield from send(get(f"{self._path}/file", original=True))).content

    @operation
    def picture(self) -> Steps[bytes]:
        """The picture as every browser shows it, whatever the format of the file."""
        return (yield from send(get(f"{self._path}/file"))).content

    @operation
    def thumbnail(self) -> Steps[bytes]:
        """A small picture of it, in WebP."""
        return (yield from send(get(f"{self._path}/thumbnail"))).content

    @operation
    def download(self, target: str | Path) -> Steps[Path]:
        """Write the file to `target`, a path or a folder. Returns the path."""
        path = Path(target)
        path = path / _local_name(self) if path.is_dir() else path
        yield from send(Call("GET", f"{self._path}/file", params={"original": True}, target=path))
        return path

    @listing
    def history(self) -> Pages[Record]:
        """What people and programs did to it, the newest first."""
        return Pages(get(f"{self._path}/history"), Record.model_validate)

    @operation
    def delete(self) -> Steps[None]:
        """Move it to the bin."""
        yield from send(Call("DELETE", self._path))


def _local_name(image: Image[Any]) -> str:
    """A name for a file in a folder: the server's, without folders before it, visible, and never empty."""
    name = re.sub(r"[\x00-\x1f\x7f-\x9f]", "", PureWindowsPath(image.name).name).lstrip(". ")
    return name.replace(":", "_") or f"image-{image.id}"


def ids_of(images: Sequence[Image[Any] | int] | Image[Any] | int) -> list[int]:
    """The ids of images, which may be named by their ids."""
    if isinstance(images, (Image, int)):
        images = [images]
    return [image if isinstance(image, int) else image.id for image in images]
