"""Deployed versions that answer over HTTP."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from projects.models import Project
from training.models.version import TrainingVersion


class ServiceQuerySet(models.QuerySet["Service"]):
    def alive(self) -> ServiceQuerySet:
        return self.filter(deleted_at=None)


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
