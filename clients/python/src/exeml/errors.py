"""What can go wrong, as exceptions. All of them are `ExemlError`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class ExemlError(Exception):
    """The base of all exceptions of this package."""


class SettingsMissing(ExemlError):
    """No URL or no token was given, and none is stored."""


class ConnectionFailed(ExemlError):
    """The server could not be reached, or the connection broke. `was_sent`: it may have got the call."""

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent


@dataclass(frozen=True)
class FieldError:
    """A value that the server refused. `field` is empty where it is about the whole call."""

    field: str
    message: str


class Problem(ExemlError):
    """An answer that is an error (RFC 9457), with the sentences that the pages show."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        *,
        kind: str = "",
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.status, self.title, self.detail = status, title, detail
        self.kind, self.errors = kind, tuple(errors)
        self.headers: Mapping[str, str] = headers or {}

    def __str__(self) -> str:
        by_field = [f"{error.field}: {error.message}" for error in self.errors if error.field]
        return "\n".join([f"{self.title} ({self.status})", *(by_field or [self.detail] * bool(self.detail))])

    @property
    def request_id(self) -> str:
        """Names the call in the server's log."""
        return self.headers.get("x-request-id", "")

    @property
    def retry_after_s(self) -> float | None:
        """Seconds after which the server wants to be asked again."""
        try:
            return max(0.0, float(self.headers.get("retry-after", "")))
        except ValueError:
            return None


class NotEnded(ExemlError):
    """What was waited for did not end within the time."""


class NotCompleted(ExemlError):
    """A training, an import or a service ended without the result that was waited for."""
