"""What a Manager sets up: members, service accounts with their tokens, webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from exeml.core.calls import Call, Pages, Steps, create, fetch, get, post, send
from exeml.core.modes import M, listing, operation
from exeml.core.resource import Record, Resource


class Member(Record):
    """A person or a service account in a team."""

    user_id: int
    username: str
    full_name: str = ""
    email: str = ""
    role: str = ""
    is_service_account: bool = False
    is_active: bool = True


class AccessToken(Record):
    """A token of a service account. `token`, its plain text, is in the answer that creates it alone."""

    id: int
    name: str = ""
    hint: str = ""
    scopes: list[str] = Field(default_factory=list)
    created_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    token: str | None = None


class ServiceAccount(Resource[M]):
    """A member of a team that is a program."""

    user_id: int
    name: str = ""
    username: str = ""
    role: str = ""

    @property
    def _path(self) -> str:
        return f"{self._parent}/service-accounts/{self.user_id}"

    @operation
    def refresh(self) -> Steps[ServiceAccount[M]]:
        """Read it again."""
        self._update((yield from fetch(get(self._path))))
        return self

    @listing
    def tokens(self) -> Pages[AccessToken]:
        """Its tokens, without their plain text."""
        return Pages(get(f"{self._path}/tokens"), AccessToken.model_validate)

    @operation
    def create_token(
        self, name: str, scopes: Sequence[str] = (), *, days: int | None = 90
    ) -> Steps[AccessToken]:
        """Create a token that expires after 30, 90 or 365 days, or never (None)."""
        body = {"name": name, "scopes": list(scopes), "days": days}
        return AccessToken.model_validate((yield from fetch(post(f"{self._path}/tokens", body))))

    @operation
    def revoke_token(self, token: AccessToken | int) -> Steps[None]:
        """It stops working at once."""
        key = token if isinstance(token, int) else token.id
        yield from send(Call("DELETE", f"{self._path}/tokens/{key}"))

    @operation
    def delete(self) -> Steps[None]:
        """Delete it; its tokens stop working, what it did stays in the history."""
        yield from send(Call("DELETE", self._path))


class Delivery(Record):
    """A message of a webhook, with the last attempts to deliver it."""

    id: int
    event: str = ""
    status: str = ""
    created_at: datetime | None = None
    next_attempt_at: datetime | None = None
    attempts: list[Record] = Field(default_factory=list)
    body: str = ""


class Webhook(Resource[M]):
    """An address that is told of events. `secret` is in the answer that creates it alone."""

    id: int
    team_id: int | None = None
    project_id: int | None = None
    url: str = ""
    events: list[str] = Field(default_factory=list)
    is_on: bool = True
    off_cause: str = ""
    failing_since: datetime | None = None
    secret: str | None = None

    @property
    def _path(self) -> str:
        return f"{self._parent}/webhooks/{self.id}"

    @operation
    def refresh(self) -> Steps[Webhook[M]]:
        """Read it again."""
        self._update((yield from fetch(get(self._path))))
        return self

    @operation
    def change(self, /, **changes: Any) -> Steps[Webhook[M]]:
        """Change `url`, `events` or `is_on`."""
        self._update((yield from fetch(Call("PATCH", self._path, body=changes))))
        return self

    @operation
    def rotate_secret(self) -> Steps[str]:
        """The new secret; the former one signs beside it for a while."""
        return str((yield from fetch(post(f"{self._path}/secret")))["secret"])

    @operation
    def test(self) -> Steps[Delivery]:
        """Send a message without any event."""
        return Delivery.model_validate((yield from fetch(post(f"{self._path}/test"))))

    @listing
    def deliveries(self, status: str = "", limit: int | None = None) -> Pages[Delivery]:
        """The messages, the newest first; `status`: Waiting, Delivered or Failed."""
        call = get(f"{self._path}/deliveries", status=status or None)
        return Pages(call, Delivery.model_validate, limit)

    @operation
    def resend(self, delivery: Delivery | int) -> Steps[Delivery]:
        """Send a message again."""
        key = delivery if isinstance(delivery, int) else delivery.id
        values = yield from fetch(post(f"{self._path}/deliveries/{key}/resend"))
        return Delivery.model_validate(values)

    @operation
    def delete(self) -> Steps[None]:
        yield from send(Call("DELETE", self._path))


def new_webhook(path: str, url: str, events: Sequence[str] | None) -> Steps[Any]:
    """The row of the new webhook, with its secret."""
    body: dict[str, Any] = {"url": url}
    if events is not None:
        body["events"] = list(events)
    return (yield from fetch(create(f"{path}/webhooks", body)))
