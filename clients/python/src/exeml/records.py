"""Records without actions of their own."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from exeml.core.resource import Record


class Team(Record):
    """A team, and the role in it of the token's owner: viewer, labeler, reviewer or manager."""

    id: int
    name: str
    role: str = ""


class Account(Record):
    """The owner of the token, and what the token allows."""

    username: str
    is_service_account: bool = False
    token_name: str = ""
    scopes: list[str] = Field(default_factory=list)
    expires_at: datetime | None = None
    teams: list[Team] = Field(default_factory=list)

    def allows(self, scope: str) -> bool:
        """Every token may read."""
        return scope == "read" or scope in self.scopes


class Flavor(Record):
    """A machine that a training can ask for."""

    id: int
    name: str
    device: str = ""
    is_default: bool = False


class Action(Record):
    """What was done to labels or images. `undo` takes it back; `event_id` is None where nothing changed."""

    event_id: int | None = None
    changed_count: int = 0


class Suggestion(Record):
    """An image with the label that the model suggests for it. `seen` is what is confirmed or refused."""

    image_id: int
    name: str = ""
    label: str
    confidence: float | None = None
    seen: str


class UploadedFile(Record):
    """What became of a file: stored, duplicate or refused, with the reason."""

    name: str
    status: str
    image_id: int | None = None
    sha256: str | None = None
    reason: str = ""


class UploadReport(Record):
    """The end of an upload. `known_count`: images that the project had before a byte of them was sent.

    `remarks`: images of which something is to be said, such as that their label was refused.
    """

    stored_count: int = 0
    known_count: int = 0
    duplicate_count: int = 0
    refused: list[UploadedFile] = Field(default_factory=list)
    remarks: list[UploadedFile] = Field(default_factory=list)


class Prediction(Record):
    """The answer to one image. `predicted_labels`: the labels whose scores reach their limits."""

    predicted_label: str
    predicted_labels: list[str] = Field(default_factory=list)
    scores: list[tuple[str, float]] = Field(default_factory=list)
    is_known: bool | None = None
    version: str = ""
    request_id: str = ""
    is_collected: bool = False
