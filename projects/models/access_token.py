"""Access of programs: tokens of people and of service accounts, and calls that are made once."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from projects.models.team import Team


class Scope(models.TextChoices):
    """What a token allows, within the role of its owner. Every token may read."""

    READ = "read", gettext_lazy("Read")
    LABEL = "label", gettext_lazy("Upload and label")
    TRAIN = "train", gettext_lazy("Publish and train")
    DEPLOY = "deploy", gettext_lazy("Deploy and predict")
    ADMIN = "admin", gettext_lazy("Manage projects and members")


class ServiceAccountQuerySet(models.QuerySet["ServiceAccount"]):
    def alive(self) -> ServiceAccountQuerySet:
        return self.filter(deleted_at=None)


class ServiceAccount(models.Model):
    """An account of a program, a member of one team. Nobody can sign in with it; it has only tokens.

    One that was deleted stays a row: its name stands in the history, and its user never becomes a person's.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="service_account"
    )
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="service_accounts")
    name = models.CharField(max_length=64)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ServiceAccountQuerySet.as_manager()

    class Meta:
        ordering = ["team__name", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["team", "name"],
                condition=Q(deleted_at=None),
                name="one_service_account_of_a_name_in_a_team",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.team})"


class AccessTokenQuerySet(models.QuerySet["AccessToken"]):
    def valid(self) -> AccessTokenQuerySet:
        """Tokens that are neither revoked nor expired, of accounts that are active."""
        is_current = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        return self.filter(is_current, revoked_at=None, user__is_active=True)


class AccessToken(models.Model):
    """A token of the API. Its plain text is shown once and stored nowhere, here its hash."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="access_tokens")
    name = models.CharField(max_length=64)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=8, editable=False)  # the last characters
    scopes = models.JSONField(default=list)  # of Scope
    # Whether its owner had shown a second factor when it was created: teams may require one.
    has_second_factor = models.BooleanField(default=False, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = AccessTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"

    @property
    def is_valid(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    @property
    def scope_labels(self) -> list[str]:
        """The scopes in words, in their order."""
        return [str(scope.label) for scope in Scope if self.allows(scope)]

    def allows(self, scope: str) -> bool:
        return scope == Scope.READ or scope in self.scopes


class IdempotentCall(models.Model):
    """A call with an Idempotency-Key: a second one with the same key gets the same answer, for a day."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)  # of method, address and body
    status = models.PositiveSmallIntegerField(null=True)  # of the answer; None while the call is under way
    answer: Any = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="one_call_per_idempotency_key")]

    def __str__(self) -> str:
        return f"{self.key} of {self.user}"
