"""Labels of a project."""

from __future__ import annotations

from typing import Any

from exeml.core.calls import Call, Pages, Steps, fetch, get, post, send
from exeml.core.modes import M, operation
from exeml.core.resource import Record, Resource
from exeml.errors import Problem


class Label(Resource[M]):
    """A label, with the number of its images."""

    id: int
    name: str
    image_count: int = 0

    @property
    def _path(self) -> str:
        return f"{self._parent}/labels/{self.id}"

    @operation
    def change(self, /, **changes: Any) -> Steps[Label[M]]:
        """Change `name`, `colour` or `hot_key`."""
        self._update((yield from fetch(Call("PATCH", self._path, body=changes))))
        return self

    @operation
    def merge_into(self, other: Label[Any] | int) -> Steps[Record]:
        """Give its images to another label, and delete it."""
        key = other if isinstance(other, int) else other.id
        return Record.model_validate((yield from fetch(post(f"{self._path}/merge", {"into": key}))) or {})

    @operation
    def delete(self, /, **options: Any) -> Steps[None]:
        """Delete it; `mode` says what becomes of its images."""
        yield from send(Call("DELETE", self._path, params=options))


def label_id(project: str, name: str) -> Steps[int]:
    """The id of the label with this name, in any case of its letters. Raises Problem (404)."""
    call: Call | None = get(f"{project}/labels", limit=1000)
    while call is not None:
        labels, call = Pages(call, Record.model_validate).split((yield from fetch(call)), 0)
        for label in labels:
            values = label.model_dump()
            if values["name"].casefold() == name.casefold():
                return int(values["id"])
    raise Problem(404, "Not found", f"The project has no label “{name}”.")
