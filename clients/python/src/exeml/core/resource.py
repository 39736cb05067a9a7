"""The base of what the server has rows of: typed fields, and the actions on them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr

from exeml.core.calls import Pause, Steps, fetch, get
from exeml.core.modes import Bound, M, listing, operation, reading
from exeml.errors import NotCompleted, NotEnded

R = TypeVar("R", bound="Resource[Any]")


class Record(BaseModel):
    """Values that the server answered. Fields of a newer server are there, too."""

    model_config = ConfigDict(extra="allow", ignored_types=(operation, listing, reading))


class Resource(Record, Bound[M], Generic[M]):
    """A record with actions. `wait` returns in a status of `_wanted` and raises in one of `_ended`."""

    _wanted: ClassVar[tuple[str, ...]] = ()
    _ended: ClassVar[tuple[str, ...]] = ()
    _transport: Any = PrivateAttr()
    _parent: str = PrivateAttr(default="")

    @property
    def _path(self) -> str:
        """Below /api/v1."""
        raise NotImplementedError

    @property
    def _title(self) -> str:
        """Names it in messages."""
        return str(getattr(self, "name", "") or type(self).__name__)

    @property
    def _reason(self) -> str:
        """Why it failed, as the server says."""
        return ""

    @property
    def _has_arrived(self) -> bool:
        """Whether it is what `wait` waits for."""
        return getattr(self, "status", "") in self._wanted

    def _make(self, kind: type[R], values: Any) -> R:
        """Another resource, which lies below this one."""
        return make(kind, values, self._transport, self._path)

    def _update(self, values: Any) -> None:
        """Take over what the server answered about this resource."""
        newer = type(self).model_validate(values)
        for name in newer.model_fields_set:
            setattr(self, name, getattr(newer, name))


def wait_steps(
    resource: R, on_progress: Callable[[R], None] | None, timeout_s: float | None, poll_s: float
) -> Steps[R]:
    """Read the resource until it has arrived. Raises NotCompleted where it ended in another status.

    Raises NotEnded after `timeout_s`; what was waited for then goes on.
    """
    end = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        resource._update((yield from fetch(get(resource._path))))
        if on_progress is not None:
            on_progress(resource)
        if resource._has_arrived:
            return resource
        status = getattr(resource, "status", "")
        if status in resource._ended:
            raise NotCompleted(f"{resource._title} is {status}. {resource._reason}".strip())
        if end is not None and time.monotonic() >= end:
            raise NotEnded(f"{resource._title} is {status} after {timeout_s:g} seconds.")
        yield Pause(poll_s)


def make(kind: type[R], values: Any, transport: Any, parent: str) -> R:
    resource = kind.model_validate(values)
    resource._transport, resource._parent = transport, parent
    return resource
