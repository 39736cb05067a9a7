"""Services: deployed versions that answer over HTTP."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from math import ceil

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy, gettext_noop, ngettext

from exeml_site.lib.display import count
from projects.models import Project
from training.models.version import NumberFormat, TrainingVersion

# The message of an event; stored, and translated where it is shown.
STORAGE_AWAY = gettext_noop(
    "The file storage does not answer. The model is loaded by itself when it answers again."
)


class ServiceQuerySet(models.QuerySet["Service"]):
    def alive(self) -> ServiceQuerySet:
        """Services that are not deleted, in projects that are not deleted."""
        return self.filter(deleted_at=None, project__deleted_at=None)

    def with_versions(self) -> ServiceQuerySet:
        """Services with the project and the versions that a service shows."""
        return self.select_related(
            "project", "training_version", "canary_version", "next_version", "previous_version"
        )

    def expired(self, now: datetime) -> ServiceQuerySet:
        """Services that run past their Auto Stop, or whose project was deleted."""
        is_over = models.Q(stops_at__lte=now) | models.Q(project__deleted_at__isnull=False)
        return self.filter(is_over, status=Service.Status.RUNNING)

    def changing_since(self, moment: datetime) -> ServiceQuerySet:
        """Services whose change of version was requested before `moment`: the queue may have lost the job."""
        return self.alive().filter(next_version__isnull=False, next_requested_at__lt=moment)

    def waiting_since(self, moment: datetime) -> ServiceQuerySet:
        """Services that are Deploying since before `moment`: the queue may have lost the job."""
        return self.alive().filter(status=Service.Status.DEPLOYING, requested_at__lt=moment)


class Service(models.Model):
    """A Completed version that answers calls at its own address.

    `next_version` is checked before it takes over (or, with `next_percent`, before it gets that share of
    the calls as the canary); until then the others go on answering. A canary with 0 percent is a shadow: it
    predicts the images of calls, and no caller gets its answers. `previous_version` answered before; the
    service can be rolled back to it.
    """

    class Status(models.TextChoices):
        DEPLOYING = "Deploying", gettext_lazy("Deploying")
        RUNNING = "Running", gettext_lazy("Running")
        STOPPED = "Stopped", gettext_lazy("Stopped")
        FAILED = "Failed", gettext_lazy("Failed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="services")
    training_version = models.ForeignKey(TrainingVersion, on_delete=models.PROTECT, related_name="services")
    name = models.CharField(max_length=64)  # exeML-<project>-V001
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.DEPLOYING)
    next_version = models.ForeignKey(
        TrainingVersion, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    next_percent = models.PositiveSmallIntegerField(null=True, blank=True)
    next_requested_at = models.DateTimeField(null=True, blank=True, editable=False)
    previous_version = models.ForeignKey(
        TrainingVersion, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    canary_version = models.ForeignKey(
        TrainingVersion,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_column="trial_version_id",
    )
    canary_percent = models.PositiveSmallIntegerField(
        default=0,
        help_text="of the calls, 1–99; 0: a shadow",  # not translated: admin
        db_column="trial_percent",
    )
    collects = models.BooleanField(
        default=False,
        help_text="keeps the pictures of its calls, and says so",  # not translated: admin
    )
    keeps_days = models.PositiveSmallIntegerField(
        default=30,
        help_text="days that they are kept",  # not translated: admin
    )
    allowed_origins = models.JSONField(
        default=list,
        blank=True,
        help_text="websites whose pages may call it",  # not translated: admin
    )  # such as https://shop.example.org, as a browser sends them
    # version's primary key → its answer settings in this service, as AnswerSettings.as_json has them
    answer_settings = models.JSONField(default=dict, blank=True)
    number_format = models.CharField(
        max_length=8,
        choices=NumberFormat.choices,
        blank=True,
        help_text="empty: the default of the version that answers",  # not translated: admin
    )
    auto_stop_hours = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        help_text="hours from Running to Auto Stop; empty: never",  # not translated: admin
    )
    # When the current deployment was requested: at Deploy, and again at each Start.
    requested_at = models.DateTimeField(default=timezone.now, editable=False)
    stops_at = models.DateTimeField(null=True, blank=True)
    failure_cause = models.TextField(blank=True)
    deployed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    deployed_at = models.DateTimeField(auto_now_add=True)
    calls = models.PositiveBigIntegerField(default=0)
    failed_calls = models.PositiveBigIntegerField(default=0)
    # Totals of all calls, for counters that never go down: rows of old minutes are deleted.
    unknown_pictures = models.PositiveBigIntegerField(default=0, editable=False)
    latency_buckets = models.JSONField(default=dict, blank=True, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ServiceQuerySet.as_manager()

    class Meta:
        ordering = ["-deployed_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["Deploying", "Running", "Stopped", "Failed"]),
                name="service_status_is_known",
            ),
            models.CheckConstraint(
                condition=models.Q(canary_percent__lte=99), name="a_trial_has_a_share_of_the_calls"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_deploying(self) -> bool:
        return self.status == self.Status.DEPLOYING

    @property
    def is_running(self) -> bool:
        """Whether it answers calls; the sweep that stops it at `stops_at` may be some seconds late."""
        return self.status == self.Status.RUNNING and (
            self.stops_at is None or self.stops_at > timezone.now()
        )

    @property
    def waits_for_storage(self) -> bool:
        """Whether its model could not be loaded because the storage is away. One query."""
        latest = self.events.first()
        return latest is not None and latest.message == STORAGE_AWAY

    @property
    def can_start(self) -> bool:
        return self.status in (self.Status.STOPPED, self.Status.FAILED)

    @property
    def has_shadow(self) -> bool:
        """Whether `canary_version` gets no calls, and its answers are only kept."""
        return self.canary_version_id is not None and not self.canary_percent

    @property
    def main_percent(self) -> int:
        """Percentage of the calls that `training_version` answers."""
        return 100 - self.canary_percent

    @property
    def answering_versions(self) -> list[TrainingVersion]:
        return [version for version in (self.training_version, self.canary_version) if version is not None]

    @property
    def can_roll_back(self) -> bool:
        previous = self.previous_version
        return previous is not None and previous.deleted_at is None and self.next_version_id is None

    @property
    def time_left(self) -> str:
        """Time until Auto Stop, as in “56 minutes”; empty if nothing stops it."""
        if self.stops_at is None or not self.is_running:
            return ""
        hours, minutes = divmod(ceil((self.stops_at - timezone.now()) / timedelta(minutes=1)), 60)
        if hours and minutes:
            values = {"hours": count(hours), "minutes": minutes}
            return gettext("%(hours)s h %(minutes)s min") % values
        if hours:
            return ngettext("%(count)s hour", "%(count)s hours", hours) % {"count": count(hours)}
        return ngettext("%(count)s minute", "%(count)s minutes", minutes) % {"count": count(minutes)}


class ServiceEvent(models.Model):
    """An event in the life of a service; rows are only appended."""

    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    message = models.CharField(max_length=255)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.message


class ServiceToken(models.Model):
    """A token that a program sends to call a service. Its hash is stored; the token itself is shown once."""

    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=64)
    token_hash = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=8)  # the token's last characters
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_column="made_by_id",
    )
    created_at = models.DateTimeField(auto_now_add=True, db_column="made_at")
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.name


class CallMinute(models.Model):
    """Calls of one minute that one process answered with one version; the monitoring page adds them up.

    `buckets`: index of a latency bucket (training.serving.calls.counters) → answered calls.
    """

    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="minutes")
    training_version = models.ForeignKey(TrainingVersion, on_delete=models.CASCADE, related_name="+")
    minute = models.DateTimeField()
    process = models.UUIDField(editable=False)
    calls = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    images = models.PositiveIntegerField(
        default=0,
        help_text="of the answered calls",  # not translated: admin
    )
    unknown = models.PositiveIntegerField(default=0)
    errors = models.JSONField(default=dict, blank=True)  # {"IMAGE_UNREADABLE": 3}
    labels = models.JSONField(default=dict, blank=True)
    buckets = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["service", "training_version", "minute", "process"], name="one_row_for_each_minute"
            )
        ]
        indexes = [models.Index(fields=["service", "minute"], name="minutes_of_a_service")]

    def __str__(self) -> str:
        return f"{self.calls} calls at {self.minute.isoformat(timespec='minutes')}"


class CollectedCall(models.Model):
    """An image that was sent to a collecting service, its prediction, and the feedback on it."""

    class Verdict(models.TextChoices):
        RIGHT = "right", gettext_lazy("Right")
        WRONG = "wrong", gettext_lazy("Wrong")

    id = models.UUIDField(primary_key=True, editable=False)  # the request id
    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="collected")
    training_version = models.ForeignKey(TrainingVersion, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    file_name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    predicted = models.JSONField(default=list)  # labels
    scores = models.JSONField(default=list)  # the five best, [label, score]
    answer_settings = models.JSONField(default=dict, blank=True)  # by which it was answered
    confidence = models.FloatField()
    is_known = models.BooleanField(null=True)
    verdict = models.CharField(max_length=5, choices=Verdict.choices, blank=True)
    true_labels = models.JSONField(default=list, blank=True)
    feedback_at = models.DateTimeField(null=True, blank=True, db_column="said_at")
    feedback_by = models.CharField(
        max_length=150, blank=True, db_column="said_by"
    )  # a person, or the name of a token
    image = models.ForeignKey(
        "projects.Image", on_delete=models.SET_NULL, null=True, blank=True, related_name="collected_calls"
    )
    dismissed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-at"]
        indexes = [models.Index(fields=["service", "at"], name="collected_of_a_service")]

    def __str__(self) -> str:
        return str(self.pk)
