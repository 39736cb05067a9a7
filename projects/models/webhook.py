"""Webhooks: addresses of other programs that are told what happened, what is sent there, and the answers."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy

from exeml_site.sign_in import secret_text
from projects.models.project import Project
from projects.models.team import Team


class WebhookEvent(models.TextChoices):
    """What webhooks tell. The value is the `type` of a payload."""

    TRAINING_COMPLETED = "training.completed", gettext_lazy("Training completed")
    TRAINING_FAILED = "training.failed", gettext_lazy("Training failed")
    TRAINING_STOPPED = "training.stopped", gettext_lazy("Training stopped")
    DATASET_PUBLISHED = "dataset.published", gettext_lazy("Dataset version published")
    IMPORT_ENDED = "import.ended", gettext_lazy("Import ended")
    BATCH_ENDED = "batch.ended", gettext_lazy("Batch ended")
    SERVICE_STATUS = "service.status", gettext_lazy("Service started, stopped, failed or deleted")
    SERVICE_DRIFT = "service.drift", gettext_lazy("Predictions of a service drift")
    LIVE_ACCURACY = "service.live_accuracy", gettext_lazy("Live accuracy below the evaluation")
    TEST = "webhook.test", gettext_lazy("Test")


class WebhookQuerySet(models.QuerySet["Webhook"]):
    def told_of(self, project: Project) -> WebhookQuerySet:
        """Webhooks that are on and belong to the project, or to its whole team."""
        is_concerned = models.Q(project=project) | models.Q(project=None)
        return self.filter(is_concerned, team=project.team_id, is_on=True)

    def shown(self) -> WebhookQuerySet:
        """All but those of deleted projects."""
        return self.filter(project__deleted_at=None)


class Webhook(models.Model):
    """An address that is told of events of a team, or of one of its projects."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="webhooks")
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, null=True, blank=True, related_name="webhooks"
    )  # None: all projects of the team
    url = models.CharField(max_length=1000)
    events = models.JSONField(default=list)  # of WebhookEvent
    # Encrypted; the plain secret is shown once. The former one signs, too, until `former_secret_until`.
    secret = models.CharField(max_length=255, editable=False)
    former_secret = models.CharField(max_length=255, blank=True, editable=False)
    former_secret_until = models.DateTimeField(null=True, blank=True, editable=False)
    # Where people open the site, such as https://exeml.example.org: links begin with it without SITE_URL.
    site = models.CharField(max_length=255, editable=False)
    is_on = models.BooleanField(default=True)
    off_cause = models.TextField(blank=True, editable=False)  # where exeml turned it off itself
    off_at = models.DateTimeField(null=True, blank=True, editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)  # without a success since
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.url

    @property
    def origin(self) -> str:
        """The URL without its path, which may be as secret as a password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def secrets(self) -> list[str]:
        """The plain secrets that sign now. Raises SecretUnreadable."""
        is_former_valid = self.former_secret_until is not None and self.former_secret_until > timezone.now()
        stored = [self.secret, self.former_secret] if is_former_valid else [self.secret]
        return [secret_text.decrypt(secret) for secret in stored]

    @property
    def event_texts(self) -> list[str]:
        return [str(WebhookEvent(event).label) for event in self.events if event in WebhookEvent.values]


def new_message_id() -> str:
    return f"msg_{uuid.uuid4().hex}"


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    def due(self, now: datetime) -> WebhookDeliveryQuerySet:
        """Deliveries that should be tried by now, of webhooks that are on."""
        return self.filter(next_attempt_at__lte=now, webhook__is_on=True)


class WebhookDelivery(models.Model):
    """One event for one webhook, written with what happened, and sent until the receiver accepts it.

    An attempt claims the row by moving `next_attempt_at` ahead, so that one whose process dies is made again.
    `attempts`: {"at", "status", "ms", "answer", "problem"} of the last ones.
    """

    class Status(models.TextChoices):
        WAITING = "Waiting", gettext_lazy("Waiting")
        DELIVERED = "Delivered", gettext_lazy("Delivered")
        FAILED = "Failed", gettext_lazy("Failed")

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    message_id = models.CharField(max_length=40, default=new_message_id, unique=True)
    event = models.CharField(max_length=32)  # a WebhookEvent; without choices, a new one needs no migration
    body = models.TextField()  # JSON, as it is signed and sent
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.WAITING)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    next_attempt_at = models.DateTimeField(null=True, default=timezone.now)
    attempt_count = models.PositiveSmallIntegerField(default=0)  # since the event, or since Resend
    attempts: Any = models.JSONField(default=list)

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=models.Q(next_attempt_at__isnull=False),
                name="deliveries_that_wait",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.message_id}"

    @property
    def event_text(self) -> str:
        return str(WebhookEvent(self.event).label) if self.event in WebhookEvent.values else self.event

    @property
    def last_attempt(self) -> dict[str, Any] | None:
        return self.attempts[-1] if self.attempts else None


class RaisedAlarm(models.Model):
    """An alarm that is on: webhooks are told of it once, when it begins."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    event = models.CharField(max_length=32)
    subject = models.CharField(max_length=80)  # such as the id of a service
    raised_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event", "subject"], name="an_alarm_is_raised_once")]

    def __str__(self) -> str:
        return f"{self.event} {self.subject}"
