"""The audit log: who did what, when, from where, in which team. Rows are only appended."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NoReturn

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy, pgettext_lazy

MIN_AUDIT_DAYS = 30  # a trigger of the database refuses to delete younger events
APPEND_ONLY = "The audit log is append-only."  # not translated: for programmers


class AuditKind(models.TextChoices):
    """What happened. The value is what programs read; it begins with what it is about."""

    SIGNED_IN = "sign-in", gettext_lazy("Signed in")
    SIGN_IN_FAILED = "sign-in.failed", gettext_lazy("Sign-in failed")
    SIGN_IN_BLOCKED = "sign-in.blocked", gettext_lazy("Sign-in blocked after too many attempts")
    UNLOCKED = "sign-in.unlocked", gettext_lazy("Sign-in unlocked by an operator")
    SIGNED_OUT = "sign-out", gettext_lazy("Signed out")
    SESSIONS_ENDED = "session.ended", gettext_lazy("Signed out elsewhere")
    PASSWORD_CHANGED = "password.changed", gettext_lazy("Password changed")
    RESET_ASKED = "password.reset-asked", gettext_lazy("Password reset requested")
    RESET_MAILED = "password.reset-mailed", gettext_lazy("Password reset mailed")
    PASSWORD_RESET = "password.reset", gettext_lazy("Password reset by mail")
    FACTOR_ADDED = "factor.added", gettext_lazy("Second factor added")
    FACTOR_REMOVED = "factor.removed", gettext_lazy("Second factor removed")
    CODES_RENEWED = "factor.codes", gettext_lazy("New recovery codes")
    ACCOUNT_CREATED = "account.created", gettext_lazy("Account created")
    INVITATION_MADE = "invitation.made", gettext_lazy("Invitation made")
    INVITATION_WITHDRAWN = "invitation.withdrawn", gettext_lazy("Invitation withdrawn")
    INVITATION_ACCEPTED = "invitation.accepted", gettext_lazy("Invitation accepted")
    MEMBER_ADDED = "member.added", gettext_lazy("Member added")
    ROLE_CHANGED = "member.role", gettext_lazy("Role changed")
    MEMBER_REMOVED = "member.removed", gettext_lazy("Member removed")
    FACTOR_REQUIRED = "team.second-factor", gettext_lazy("Second factor required or no longer required")
    TOKEN_CREATED = "token.created", gettext_lazy("Token created")
    TOKEN_ROTATED = "token.rotated", gettext_lazy("Token rotated")
    TOKEN_REVOKED = "token.revoked", gettext_lazy("Token revoked")
    ACCESS_TOKEN_CREATED = "access-token.created", gettext_lazy("Access token created")
    ACCESS_TOKEN_REVOKED = "access-token.revoked", gettext_lazy("Access token revoked")
    SERVICE_ACCOUNT_CREATED = "service-account.created", gettext_lazy("Service account created")
    SERVICE_ACCOUNT_DELETED = "service-account.deleted", gettext_lazy("Service account deleted")
    TOKENS_BLOCKED = "token.blocked", gettext_lazy("Calls blocked after too many wrong tokens")
    PROJECT_CREATED = "project.created", gettext_lazy("Project created")
    PROJECT_CHANGED = "project.changed", gettext_lazy("Project changed")
    PROJECT_DELETED = "project.deleted", gettext_lazy("Project deleted")
    PROJECT_RESTORED = "project.restored", gettext_lazy("Project restored")
    PROJECT_PURGED = "project.purged", gettext_lazy("Project deleted permanently")
    PROJECT_EXPORTED = "project.exported", gettext_lazy("Project file downloaded")
    PROJECT_IMPORTED = "project.imported", gettext_lazy("Project file imported")
    IMAGES_DELETED = "images.deleted", gettext_lazy("Images moved to the bin")
    IMAGES_RESTORED = "images.restored", gettext_lazy("Images restored from the bin")
    IMAGES_PURGED = "images.purged", gettext_lazy("Images deleted permanently")
    LABEL_DELETED = "label.deleted", gettext_lazy("Label deleted")
    LABEL_RESTORED = "label.restored", gettext_lazy("Label restored")
    LABELS_MERGED = "label.merged", gettext_lazy("Labels merged")
    DATASET_PUBLISHED = "dataset.published", gettext_lazy("Dataset version published")
    LABELS_RESTORED = "labels.restored", gettext_lazy("Labels of a dataset version restored")
    COLUMN_REMOVED = "column.removed", gettext_lazy("Column of metadata removed")
    IMPORT_STARTED = "import.started", gettext_lazy("Import started")
    IMPORT_CANCELLED = "import.cancelled", gettext_lazy("Import cancelled")
    IMPORT_UNDONE = "import.undone", gettext_lazy("Import undone")
    EXPORTED = "export", gettext_lazy("Images exported")
    DOWNLOADED = "download", gettext_lazy("File downloaded")
    TRAINING_STARTED = "training.started", gettext_lazy("Training started")
    TRAINING_STOPPED = "training.stopped", gettext_lazy("Training stopped")
    TRAINING_RETRIED = "training.retried", gettext_lazy("Training retried")
    TRAINING_DELETED = "training.deleted", gettext_lazy("Training version deleted")
    TRAINING_RESTORED = "training.restored", gettext_lazy("Training version restored")
    TRAINING_PURGED = "training.purged", gettext_lazy("Training version deleted permanently")
    ANSWERS_CHANGED = "training.answers", gettext_lazy("Answer settings of a training version changed")
    SERVICE_DEPLOYED = "service.deployed", gettext_lazy("Service deployed")
    SERVICE_STARTED = "service.started", gettext_lazy("Service started")
    SERVICE_STOPPED = "service.stopped", gettext_lazy("Service stopped")
    SERVICE_CHANGED = "service.changed", gettext_lazy("Service changed")
    SERVICE_DELETED = "service.deleted", gettext_lazy("Service deleted")
    SERVICE_RESTORED = "service.restored", gettext_lazy("Service restored")
    SERVICE_PURGED = "service.purged", gettext_lazy("Service deleted permanently")
    BATCH_STARTED = "batch.started", gettext_lazy("Batch started")
    BATCH_CANCELLED = "batch.cancelled", gettext_lazy("Batch cancelled")
    BATCH_DELETED = "batch.deleted", gettext_lazy("Batch deleted")
    EVALUATION_STARTED = "evaluation.started", gettext_lazy("Evaluation started")
    EVALUATION_CANCELLED = "evaluation.cancelled", gettext_lazy("Evaluation cancelled")
    EVALUATION_DELETED = "evaluation.deleted", gettext_lazy("Evaluation deleted")
    WEBHOOK_CREATED = "webhook.created", gettext_lazy("Webhook created")
    WEBHOOK_CHANGED = "webhook.changed", gettext_lazy("Webhook changed")
    WEBHOOK_ROTATED = "webhook.rotated", gettext_lazy("Secret of a webhook renewed")
    WEBHOOK_ON = "webhook.on", gettext_lazy("Webhook turned on")
    WEBHOOK_OFF = "webhook.off", gettext_lazy("Webhook turned off")
    WEBHOOK_DELETED = "webhook.deleted", gettext_lazy("Webhook deleted")
    PRICE_CHANGED = "price.changed", gettext_lazy("Price changed")
    ADMIN_ADDED = "admin.added", gettext_lazy("Added by an operator")
    ADMIN_CHANGED = "admin.changed", gettext_lazy("Changed by an operator")
    ADMIN_DELETED = "admin.deleted", gettext_lazy("Deleted by an operator")
    QUEUE_CHANGED = "queue.changed", gettext_lazy("Queue changed by an operator")
    JOB_RETRIED = "job.retried", gettext_lazy("Failed job retried by an operator")
    BACKUP_MADE = "backup.made", gettext_lazy("Backup made")
    BACKUP_RESTORED = "backup.restored", gettext_lazy("Backup restored")


class AuditWay(models.TextChoices):
    """Through what it happened."""

    PAGE = "page", gettext_lazy("Page")
    ADMIN = "admin", gettext_lazy("Operators’ pages")
    API = "api", gettext_lazy("API")
    JOB = "job", pgettext_lazy("of a worker", "Job")
    COMMAND = "command", gettext_lazy("Command line")


class AuditQuerySet(models.QuerySet["AuditEvent"]):
    def update(self, **fields: Any) -> NoReturn:
        raise TypeError(APPEND_ONLY)

    def delete(self) -> NoReturn:
        raise TypeError(APPEND_ONLY)

    def bulk_update(self, *args: Any, **options: Any) -> NoReturn:
        raise TypeError(APPEND_ONLY)

    def forget_before(self, moment: datetime, at_most: int) -> int:
        """Delete the oldest events from before `moment`; how many."""
        old = self.filter(at__lt=moment).order_by("pk").values_list("pk", flat=True)[:at_most]
        chosen: models.QuerySet[AuditEvent] = self.filter(pk__in=list(old))
        return models.QuerySet.delete(chosen)[0]


class AuditEvent(models.Model):
    """One event, with the names of that time: it refers to no row, and outlives what it is about."""

    at = models.DateTimeField(default=timezone.now, db_index=True)
    kind = models.CharField(max_length=24)  # an AuditKind; without choices, a new one needs no migration
    way = models.CharField(max_length=8, choices=AuditWay.choices)
    user_id = models.BigIntegerField("person's key", null=True)
    user_name = models.CharField("person", max_length=150, blank=True)  # empty: the system, or unknown
    address = models.CharField(max_length=45, blank=True)
    team_id = models.BigIntegerField("team's key", null=True)
    team_name = models.CharField("team", max_length=64, blank=True)
    project_id = models.BigIntegerField("project's key", null=True)
    project_name = models.CharField("project", max_length=32, blank=True)
    target = models.CharField(max_length=255, blank=True)  # “V003”, the name of a member, a file …
    details = models.JSONField(default=dict, blank=True)
    request_id = models.CharField(max_length=64, blank=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["team_id", "-id"], name="audit_of_a_team")]

    def __str__(self) -> str:
        return f"{self.at.isoformat(timespec='seconds')} {self.kind} {self.target}".strip()

    def save(self, **options: Any) -> None:
        if self.pk is not None:
            raise TypeError(APPEND_ONLY)
        super().save(**options)

    def delete(self, *args: Any, **options: Any) -> NoReturn:
        raise TypeError(APPEND_ONLY)

    @property
    def kind_text(self) -> str:
        """The kind in words; as it is where a newer program wrote it."""
        return str(AuditKind(self.kind).label) if self.kind in AuditKind.values else self.kind

    @property
    def detail_texts(self) -> list[tuple[str, str]]:
        """The details as people read them; English, as in the files: “is_known”: True is (“known”, “yes”)."""
        return [
            (name.removeprefix("is_").replace("_", " "), _text_of(value))
            for name, value in self.details.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """All fields as programs read them."""
        fields = {field.name: getattr(self, field.name) for field in self._meta.concrete_fields}
        return {**fields, "at": self.at.isoformat()}


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"  # not translated: as the names of the details
    if isinstance(value, list):
        return ", ".join(map(_text_of, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
