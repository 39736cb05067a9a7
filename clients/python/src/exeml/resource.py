"""The base of what the server has rows of: typed fields, and the actions on them."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr

from exeml.modes import Bound, M, listing, operation, reading

R = TypeVar("R", bound="Resource[Any]")


class Record(BaseModel):
    """Values that the server answered. Fields of a newer server are there, too."""

    model_config = ConfigDict(extra="allow", ignored_types=(operation, listing, reading))


class Resource(Record, Bound[M], Generic[M]):
    """A record with actions. `_path` is the path of the collection that it lies in."""

    _transport: Any = PrivateAttr()
    _parent: str = PrivateAttr(default="")

    @property
    def _path(self) -> str:
        """Below /api/v1."""
        raise NotImplementedError

    def _make(self, kind: type[R], values: Any) -> R:
        """Another resource, which lies below this one."""
        return make(kind, values, self._transport, self._path)

    def _update(self, values: Any) -> None:
        """Take over what the server answered about this resource."""
        newer = type(self).model_validate(values)
        for name in newer.model_fields_set:
            setattr(self, name, getattr(newer, name))


def make(kind: type[R], values: Any, transport: Any, parent: str) -> R:
    resource = kind.model_validate(values)
    resource._transport, resource._parent = transport, parent
    return resource
