"""Service tokens: created, shown once, stored as a hash."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext

from exeml_site.lib.errors import Refused
from projects import audit
from projects.workspace.secret_token import Token, new_token
from training.models import Service, ServiceEvent, ServiceToken, TrainingVersion

MAX_TOKENS = 50  # unrevoked tokens of a service
# The fields that a call needs; `find_token` reads nothing else.
SERVICE_FIELDS = (
    "status",
    "stops_at",
    "project_id",
    "training_version_id",
    "canary_version_id",
    "canary_percent",
    "collects",
    "answer_settings",
)
VERSION_ROLES, VERSION_FIELDS = ("training_version", "canary_version"), ("number", "job_id")
CALL_FIELDS = [
    *(f"service__{name}" for name in SERVICE_FIELDS),
    *(f"service__{role}__{name}" for role in VERSION_ROLES for name in VERSION_FIELDS),
]


class TokenRefused(Refused):
    """The token cannot be created; the message tells the user why."""


def store_token(service: Service, name: str, token: Token, by: User | None) -> ServiceToken:
    return ServiceToken.objects.create(
        service=service, name=name, token_hash=token.hash, hint=token.hint, created_by=by
    )


def create_token(service: Service, name: str, by: User) -> Token:
    """Create another token. Its plain text is returned only here. Raises TokenRefused."""
    with transaction.atomic():
        unrevoked = Service.objects.select_for_update().get(pk=service.pk).tokens.filter(revoked_at=None)
        if unrevoked.filter(name__iexact=name).exists():
            text = gettext("This service already has a token “%(name)s”. Choose another name.")
            raise TokenRefused(text % {"name": name})
        if unrevoked.count() >= MAX_TOKENS:
            text = gettext("A service has at most %(limit)s tokens. Revoke one first.")
            raise TokenRefused(text % {"limit": MAX_TOKENS})
        token = new_token()
        store_token(service, name, token, by)
        _record_event(service, by, f"Token “{name}” created.")  # not translated: stored with values
        _record(audit.Kind.TOKEN_CREATED, service, name, by)
    return token


def rotate_token(service: Service, token_id: int, by: User) -> Token | None:
    """Replace the token's secret; the old one stops working at once. None if there is no such token."""
    with transaction.atomic():
        old = service.tokens.filter(pk=token_id, revoked_at=None).first()
        if old is None or not _set_revoked(old):
            return None
        token = new_token()
        store_token(service, old.name, token, by)
        message = f"Token “{old.name}” rotated; the old one stopped working."  # not translated: stored
        _record_event(service, by, message)
        _record(audit.Kind.TOKEN_ROTATED, service, old.name, by)
    return token


def revoke_token(service: Service, token_id: int, by: User) -> bool:
    """Revoke a token: it stops working at once. False if there is none or it was revoked before."""
    with transaction.atomic():
        token = service.tokens.filter(pk=token_id).first()
        if token is None or not _set_revoked(token):
            return False
        _record_event(service, by, f"Token “{token.name}” revoked.")  # not translated: stored with values
        _record(audit.Kind.TOKEN_REVOKED, service, token.name, by)
    return True


def _record(kind: audit.Kind, service: Service, name: str, by: User) -> None:
    audit.record(kind, project=service.project, target=name, by=by, service=service.name)


def find_token(service_id: UUID, plain: str) -> ServiceToken | None:
    """The unrevoked token of a living service, found by its hash in one query; None if there is none.

    Its `service` and the service's versions hold only CALL_FIELDS. Comparing hashes in the database is safe:
    with 256 random bits the time of the query tells nothing about the token.
    """
    is_alive = Q(service__deleted_at=None, service__project__deleted_at=None)
    tokens = ServiceToken.objects.filter(
        is_alive, service=service_id, token_hash=Token(plain).hash, revoked_at=None
    )
    row = tokens.order_by().values("pk", "name", *CALL_FIELDS).first()
    if row is None:
        return None
    service = Service(pk=service_id, **{name: row[f"service__{name}"] for name in SERVICE_FIELDS})
    service.training_version = _partial_version(row, "training_version")
    if service.canary_version_id is not None:
        service.canary_version = _partial_version(row, "canary_version")
    return ServiceToken(pk=row["pk"], name=row["name"], service=service)


def _partial_version(row: dict[str, Any], role: str) -> TrainingVersion:
    fields = {name: row[f"service__{role}__{name}"] for name in VERSION_FIELDS}
    return TrainingVersion(pk=row[f"service__{role}_id"], **fields)


def _set_revoked(token: ServiceToken) -> bool:
    rows = ServiceToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
    return bool(rows)


def _record_event(service: Service, by: User, message: str) -> None:
    ServiceEvent.objects.create(service=service, by=by, message=message)
