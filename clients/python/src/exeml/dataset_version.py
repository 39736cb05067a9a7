"""Dataset versions: the labels of a moment, which never change."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from exeml.core.calls import Call, Pages, Steps, fetch, get, path_part, post, send
from exeml.core.modes import M, listing, operation
from exeml.core.resource import Record, Resource


class DatasetVersion(Resource[M]):
    """An immutable version of the labels of a project."""

    name: str
    training_ratio: float | None = None
    created_at: datetime | None = None
    published_at: datetime | None = None
    image_count: int = 0
    training_image_count: int = 0
    validation_image_count: int = 0
    test_image_count: int = 0

    @property
    def _path(self) -> str:
        return f"{self._parent}/dataset-versions/{path_part(self.name)}"

    @operation
    def download_manifest(self, target: str | Path) -> Steps[Path]:
        """Write the manifest, JSON Lines with a line for each image."""
        path = Path(target)
        yield from send(Call("GET", f"{self._path}/manifest", target=path, timeout_s=600))
        return path

    @listing
    def compare(self, other: DatasetVersion[Any] | str, kind: str | None = None) -> Pages[Record]:
        """The images in which another version differs from this one."""
        name = other if isinstance(other, str) else other.name
        call = get(f"{self._path}/compare", limit=500, kind=kind, **{"with": name})
        return Pages(call, Record.model_validate)

    @operation
    def restore(self, *, unlabel_others: bool = False) -> Steps[Record]:
        """Give the images the labels of this version again."""
        call = post(f"{self._path}/restore", {"unlabel_others": unlabel_others}, timeout_s=600)
        return Record.model_validate((yield from fetch(call)))
