"""Machines that run the program, as each reports itself once a minute (projects.operators.machines)."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone

from exeml_site.health.readiness import LOW_SHARE

SILENT_AFTER = timedelta(minutes=5)


class MachineQuerySet(models.QuerySet["Machine"]):
    def living(self) -> MachineQuerySet:
        """Machines that have reported lately."""
        return self.filter(seen_at__gt=timezone.now() - SILENT_AFTER)


class Machine(models.Model):
    """One `manage.py up`: a host and a data folder.

    `settings` are those that must be the same everywhere: numbers as they are, texts as hashes, empty for
    what is not set. `disk_usage` is the size of each part of the data folder, in bytes.
    """

    host = models.CharField(max_length=255)
    data_folder = models.CharField(max_length=1024)
    program = models.CharField("version", max_length=64)  # not translated: for the admin
    parts = models.JSONField(default=list)
    settings = models.JSONField(default=dict)
    cores = models.PositiveIntegerField(default=0)
    has_gpu = models.BooleanField(null=True)  # None: PyTorch gave no answer
    disk_free = models.PositiveBigIntegerField(default=0)
    disk_total = models.PositiveBigIntegerField(default=0)
    disk_usage = models.JSONField(default=dict)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    objects = MachineQuerySet.as_manager()

    class Meta:
        ordering = ["host", "data_folder"]
        constraints = [
            models.UniqueConstraint(fields=["host", "data_folder"], name="one_machine_per_host_and_folder")
        ]

    def __str__(self) -> str:
        return f"{self.host} ({self.data_folder})"

    @property
    def is_living(self) -> bool:
        return self.seen_at > timezone.now() - SILENT_AFTER

    @property
    def free_share(self) -> float:
        """Free share of the disk of the data folder; 1 if its size is not known."""
        return self.disk_free / self.disk_total if self.disk_total else 1.0

    @property
    def is_low(self) -> bool:
        """Whether the free space of its disk is an alarm."""
        return self.free_share < LOW_SHARE
