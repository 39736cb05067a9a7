"""Deployed versions that answer over HTTP."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from math import ceil

from django.conf import settings
from django.db import models
from django.utils import timezone

from projects.models import Project
from training.models.version import TrainingVersion


class ServiceQuerySet(models.QuerySet["Service"]):
    def alive(self) -> ServiceQuerySet:
        """Not deleted, and of a project that is not deleted."""
        return self.filter(deleted_at=None, project__deleted_at=None)

    def expired(self, now: datetime) -> ServiceQuerySet:
        """Running past their Auto Stop, or of a project that was deleted."""
        is_over = models.Q(stops_at__lte=now) | models.Q(project__deleted_at__isnull=False)
        return self.filter(is_over, status=Service.Status.RUNNING)

    def waiting_since(self, moment: datetime) -> ServiceQuerySet:
        """Deploying, asked for before `moment`: the queue may have lost them."""
        return self.alive().filter(status=Service.Status.DEPLOYING, requested_at__lt=moment)


class Service(models.Model):
    """A Completed version behind an address. The token is stored as a hash and shown once."""

    class Status(models.TextChoices):
        DEPLOYING = "Deploying", "Deploying"
        RUNNING = "Running", "Running"
        STOPPED = "Stopped", "Stopped"
        FAILED = "Failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="services")
    training_version = models.ForeignKey(TrainingVersion, on_delete=models.PROTECT, related_name="services")
    name = models.CharField(max_length=64)  # exeML-<project>-V001
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.DEPLOYING)
    token_hash = models.CharField(max_length=64, blank=True)
    token_hint = models.CharField(max_length=8, blank=True)  # the token's last characters
    auto_stop_hours = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="hours from Running to Auto Stop; empty: never"
    )
    # When the present deployment was asked for: at Deploy, and again at each Start.
    requested_at = models.DateTimeField(default=timezone.now, editable=False)
    stops_at = models.DateTimeField(null=True, blank=True)
    failure_cause = models.TextField(blank=True)
    deployed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    deployed_at = models.DateTimeField(auto_now_add=True)
    calls = models.PositiveBigIntegerField(default=0)
    failed_calls = models.PositiveBigIntegerField(default=0)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ServiceQuerySet.as_manager()

    class Meta:
        ordering = ["-deployed_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["Deploying", "Running", "Stopped", "Failed"]),
                name="service_status_is_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_deploying(self) -> bool:
        return self.status == self.Status.DEPLOYING

    @property
    def is_running(self) -> bool:
        """Whether it answers: the sweep that stops it may be some seconds late."""
        return self.status == self.Status.RUNNING and (
            self.stops_at is None or self.stops_at > timezone.now()
        )

    @property
    def can_start(self) -> bool:
        return self.status in (self.Status.STOPPED, self.Status.FAILED)

    @property
    def time_left(self) -> str:
        """Until Auto Stop, as in “stops in 56 minutes”; empty where nothing stops it."""
        if self.stops_at is None or not self.is_running:
            return ""
        hours, minutes = divmod(ceil((self.stops_at - timezone.now()) / timedelta(minutes=1)), 60)
        if hours and minutes:
            return f"{hours} h {minutes} min"
        count, unit = (hours, "hour") if hours else (minutes, "minute")
        return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


class ServiceEvent(models.Model):
    """What happened to a service, append-only."""

    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    message = models.CharField(max_length=255)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.message
